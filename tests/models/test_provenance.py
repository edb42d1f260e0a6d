import io
import json

import c2pa
import numpy as np
import pytest

from models.errors import NotConfigured
from models.host import Result, RunnerHost
from models.media import Encoding, content_type, encode
from models.provenance import Sealer, Signing
from models.runner import Frames
from models.task import SwapFaces


@pytest.fixture(scope="module")
def sealer(tmp_path_factory):
    return Sealer(Signing(dev_folder=tmp_path_factory.mktemp("c2pa")))


def media(format, count=1):
    pixels = np.random.default_rng(0).integers(0, 255, (count, 64, 64, 3), np.uint8)
    return encode(iter([Frames(pixels, np.arange(count) / 8)]), Encoding(format=format))


def read(data, kind):
    return json.loads(c2pa.Reader(kind, io.BytesIO(data)).json())


@pytest.mark.parametrize(("format", "count"), [("png", 1), ("jpeg", 1), ("webp", 1), ("webp", 4), ("mp4", 8)])
def test_every_format_is_signed_and_says_what_was_done(sealer, format, count):
    plain, kind = media(format, count), content_type(format)
    signed = sealer.seal(plain, kind, {"engine": "embedded", "faces_swapped": count, "frames": count, "restored": False})
    assert 0 < len(signed) - len(plain) < 20_000
    report = read(signed, kind)
    assert report["validation_state"] == "Valid"
    assert [problem["code"] for problem in report["validation_status"]] == ["signingCredential.untrusted"]
    manifest = report["manifests"][report["active_manifest"]]
    created, edited = next(entry["data"]["actions"] for entry in manifest["assertions"] if entry["label"].startswith("c2pa.actions"))
    assert created["digitalSourceType"].endswith("compositeWithTrainedAlgorithmicMedia")
    assert edited["description"] == "A face was replaced."
    assert edited["parameters"]["engine"] == "embedded"


def test_a_changed_file_is_no_longer_valid(sealer):
    signed = bytearray(sealer.seal(media("jpeg"), "image/jpeg", {}))
    signed[-200] ^= 1
    assert read(bytes(signed), "image/jpeg")["validation_state"] == "Invalid"


def test_the_development_certificate_is_made_once_and_its_key_is_private(tmp_path):
    Sealer(Signing(dev_folder=tmp_path))
    before = (tmp_path / "development-chain.pem").read_bytes()
    assert Sealer(Signing(dev_folder=tmp_path)).name == "c2pa-development"
    assert (tmp_path / "development-chain.pem").read_bytes() == before
    assert (tmp_path / "development-key.pem").stat().st_mode & 0o077 == 0


def test_a_place_signs_with_its_own_certificate(sealer, tmp_path):
    Sealer(Signing(dev_folder=tmp_path))  # stands for a certificate from an authority
    own = Sealer(Signing(certificate=tmp_path / "development-chain.pem", key=tmp_path / "development-key.pem", dev_folder=tmp_path / "no"))
    assert own.name == "c2pa"
    assert not (tmp_path / "no").exists()
    assert read(own.seal(media("png"), "image/png", {}), "image/png")["validation_state"] == "Valid"


def test_nonsense_shows_at_the_start(tmp_path):
    with pytest.raises(NotConfigured, match="go together"):
        Sealer(Signing(certificate=tmp_path / "chain.pem"))
    with pytest.raises(NotConfigured, match="cannot be read"):
        Sealer(Signing(certificate=tmp_path / "chain.pem", key=tmp_path / "key.pem"))
    (tmp_path / "chain.pem").write_text("nothing")
    (tmp_path / "key.pem").write_text("nothing")
    with pytest.raises(NotConfigured, match="could not be signed"):
        Sealer(Signing(certificate=tmp_path / "chain.pem", key=tmp_path / "key.pem"))


class Swapper:
    """Says that it swapped as many faces as it is told."""

    def __init__(self, swapped):
        self.swapped = swapped

    def run(self, task, call):
        call.facts["faces_swapped"] = self.swapped
        yield Frames(np.zeros((1, 16, 16, 3), np.uint8), np.zeros(1))

    def close(self):
        pass


@pytest.mark.parametrize(("swapped", "signed"), [(1, True), (0, False)])
async def test_the_host_signs_what_was_swapped_and_nothing_else(sealer, swapped, signed):
    host = RunnerHost(Swapper(swapped), sealer=sealer)
    task = SwapFaces(source=np.zeros((8, 8, 3), np.uint8))
    (result,) = [event async for event in host.produce(task, Encoding(format="png")) if isinstance(event, Result)]
    host.close()
    assert (b"c2pa" in result.media) == signed
    assert result.stages[-1].facts.get("provenance") == ("c2pa-development" if signed else None)
