"""Bad requests against a real server: the right status, a sentence that tells the way out, and nothing left behind."""

import base64
import io
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image as PilImage

from tests.conftest import Served

pytestmark = pytest.mark.ray


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(width: int, height: int, value: int = 128) -> bytes:
    buffer = io.BytesIO()
    PilImage.fromarray(np.full((height, width, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def huge_png() -> bytes:
    """A PNG whose header claims 50 megapixels; no pixels follow."""
    header = struct.pack(">IIBBBBB", 10_000, 5_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)


def clip(seconds: int, fps: int = 1, size: int = 64) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(seconds * fps):
            frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), index % 255, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


VIDEO = {"prompt": "a", "width": 128, "height": 128, "length": 5, "steps": 1}
FLAT = b64(png(64, 64))


def cases(face: str) -> dict[str, tuple[str, dict[str, Any], int, list[str]]]:
    i2v, swap, batch = "/wan2.6-i2v", "/image-faceswap", "/batch-video-faceswap"
    return {
        "missing prompt": ("/wan2.6", {}, 400, ["prompt is required"]),
        "empty prompt": ("/wan2.6", VIDEO | {"prompt": ""}, 400, ["prompt"]),
        "unknown field": ("/wan2.6", VIDEO | {"widht": 8}, 400, ["widht", "width"]),
        "misspelt step": ("/wan2.6", VIDEO | {"stepss": 8}, 400, ["stepss", "steps"]),
        "huge steps": ("/wan2.6", VIDEO | {"steps": 100_000}, 400, ["steps", "100"]),
        "negative seed": ("/wan2.6", VIDEO | {"seed": -1}, 400, ["seed", "-1"]),
        "wrong type": ("/wan2.6", VIDEO | {"width": "wide"}, 400, ["width", "wide"]),
        "odd width": ("/wan2.6", VIDEO | {"width": 833}, 400, ["width", "16"]),
        "too much for a card": ("/wan2.6", VIDEO | {"width": 2048, "height": 2048, "length": 257}, 400, ["161 frames"]),
        "unknown format": ("/wan2.6", VIDEO | {"output_format": "avi"}, 400, ["output_format", "mp4"]),
        "missing picture": (i2v, VIDEO, 400, ["reference_image is required"]),
        "empty picture": (i2v, VIDEO | {"reference_image": ""}, 400, ["reference_image"]),
        "not base64": (i2v, VIDEO | {"reference_image": "data:image/png;base64,%%%"}, 400, ["reference_image", "base64"]),
        "a link": (i2v, VIDEO | {"reference_image": "https://example.com/a.png"}, 400, ["reference_image", "base64"]),
        "not a picture": (i2v, VIDEO | {"reference_image": b64(b"hello there, this is text")}, 400, ["reference_image"]),
        "truncated picture": (
            i2v,
            VIDEO | {"reference_image": face[:20_000]},
            400,
            ["reference_image"],
        ),
        "50 megapixels": (i2v, VIDEO | {"reference_image": b64(huge_png())}, 413, ["reference_image", "pixel"]),
        "no face in the source": (swap, {"source_image": face, "reference_image": FLAT}, 400, ["face"]),
        "no face in the target": (swap, {"source_image": FLAT, "reference_image": face, "require_face": True}, 400, ["face"]),
        "a clip where a picture goes": (swap, {"source_image": b64(clip(2)), "reference_image": face}, 400, ["source_image", "picture"]),
        "ten minutes": (batch, {"source_video": b64(clip(600)), "reference_image": face}, 413, ["source_video", "second"]),
        "zero bytes": (batch, {"source_video": "", "reference_image": face}, 400, ["source_video"]),
        "text as clip": (batch, {"source_video": b64(b"#EXTM3U\nhttp://x/y.ts\n"), "reference_image": face}, 400, ["source_video"]),
        "truncated clip": (batch, {"source_video": b64(clip(20)[:-1500]), "reference_image": face}, 400, []),
        "restorer not installed": (swap, {"source_image": face, "reference_image": face, "restore_face": True}, 501, ["restor"]),
    }


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=120) as client:
        yield client


def check(response: httpx.Response, status: int, words: list[str]) -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert body["error"] == body["detail"]
    assert "Traceback" not in response.text
    assert len(body["error"].split()) >= 4, f"no sentence: {body['error']!r}"
    for word in words:
        assert word.lower() in body["error"].lower()


def files() -> set[Path]:
    own = {Path.cwd(), Path(tempfile.gettempdir())}
    return {path for folder in own for path in folder.iterdir() if not path.name.startswith((".", "bash", "pytest"))}


def test_each_bad_request_gets_its_status_and_a_way_out(client: httpx.Client, face_url: str, subtests: pytest.Subtests):
    before = files()
    for name, (path, body, status, words) in cases(face_url).items():
        with subtests.test(name):
            check(client.post(path, json=body), status, words)
    assert {path for path in files() - before if path.name.startswith(("tmp", "ryla"))} == set()
    assert client.post("/wan2.6", json=VIDEO).status_code == 200


@pytest.mark.parametrize(
    ("raw", "words"),
    [(b"", ["JSON"]), (b"{", ["JSON"]), (b"[]", ["object"]), (b'{"prompt": "a", "cfg": NaN}', ["cfg"]), (b"\xff\xfe", ["JSON"])],
)
def test_bodies_that_are_no_request(client: httpx.Client, raw: bytes, words: list[str]):
    check(client.post("/wan2.6", content=raw), 400, words)


def test_method_path_size_and_headers(client: httpx.Client, served: Served):
    check(client.get("/wan2.6"), 405, ["POST"])
    check(client.post("/wan26", json={}), 404, ["/models"])
    check(client.post("/wan2.6", content=b" " * (served.settings.max_body_bytes + 1)), 413, ["limit"])
    check(client.post("/wan2.6", json=VIDEO, headers={"X-Timeout-Seconds": "soon"}), 400, ["X-Timeout-Seconds"])
    check(client.get("/jobs/job_unknown"), 404, ["job_unknown"])


def test_the_playground_wraps_media_and_errors(client: httpx.Client):
    good = client.post("/playground/modal/call", json={"endpoint": "/wan2.6", "body": VIDEO}).json()
    assert set(good) == {"imageBase64", "contentType", "costUsd", "executionTimeSec", "gpuType"}
    assert base64.b64decode(good["imageBase64"])[8:12] == b"WEBP"
    for body in ({"endpoint": "/wan2.6", "body": {}}, {"endpoint": "/nope"}, {"nothing": 1}, []):
        bad = client.post("/playground/modal/call", content=json.dumps(body))
        assert (bad.status_code, list(bad.json())) == (200, ["error"])


def test_other_spellings_of_the_contract_work(client: httpx.Client, face_url: str):
    body = {"prompt": "a", "width": 128, "height": 128, "num_frames": 9, "num_inference_steps": 1, "guidance_scale": 2.0}
    assert client.post("/wan2.6", json=body).headers["x-frames"] == "9"
    assert client.post("/wan2.6-i2v-faceswap", json=body | {"source_image": face_url, "reference_face": face_url}).status_code == 200
    swap = {"source_image": face_url, "face_image": face_url, "codeformer_weight": 0.5, "face_restore_visibility": 1.0}
    assert client.post("/image-faceswap", json=swap).headers["x-faces-swapped"] == "1/1"
    assert os.environ["RAY_AUTH_MODE"] == "token"
