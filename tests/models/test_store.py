import hashlib
import threading
from pathlib import Path

import pytest

from models.errors import NotLicensed, WeightsMissing
from models.store import MirrorSource, Pin, PinnedStore
from models.weights import Checkpoint

REVISION = "0123456789abcdef0123456789abcdef01234567"
CHECKPOINT = Checkpoint(repo="owner/model", revision=None, licence="apache-2.0")
FILES = {"config.json": b"{}", "unet/weights.safetensors": b"w" * 100_000}


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "mirror" / "owner--model" / REVISION / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "mirror"


def pins(**wrong: str) -> dict[str, Pin]:
    return {"owner/model": Pin(REVISION, {n: hashlib.sha256(d).hexdigest() for n, d in FILES.items()} | wrong)}


def store(
    tmp_path: Path, mirror: Path, lock: dict[str, Pin] | None = None, commercial: bool = True, grants: tuple[str, ...] = ()
) -> PinnedStore:
    source = MirrorSource(f"file://{mirror}")
    return PinnedStore(tmp_path / "root", source, pins() if lock is None else lock, commercial_only=commercial, grants=frozenset(grants))


def test_a_checkpoint_arrives_whole_and_stays(tmp_path: Path, mirror: Path):
    folder = store(tmp_path, mirror).folder(CHECKPOINT)
    assert {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == FILES
    for path in mirror.rglob("*.safetensors"):
        path.unlink()
    assert store(tmp_path, mirror).folder(CHECKPOINT) == folder


def test_a_wrong_file_is_refused_and_the_next_try_mends_it(tmp_path: Path, mirror: Path):
    weights = next(mirror.rglob("*.safetensors"))
    weights.write_bytes(b"tampered")
    with pytest.raises(WeightsMissing, match="SHA-256"):
        store(tmp_path, mirror).folder(CHECKPOINT)
    weights.write_bytes(FILES["unet/weights.safetensors"])
    assert store(tmp_path, mirror).folder(CHECKPOINT).exists()


def test_an_unpinned_repository_and_an_unsafe_format_are_refused(tmp_path: Path, mirror: Path):
    with pytest.raises(WeightsMissing, match=r"models\.store pin owner/model"):
        store(tmp_path, mirror, lock={}).folder(CHECKPOINT)
    with pytest.raises(WeightsMissing, match="can run code"):
        store(tmp_path, mirror, lock=pins(**{"model.bin": "0" * 64})).folder(CHECKPOINT)


def test_a_declared_revision_must_agree_with_the_pin(tmp_path: Path, mirror: Path):
    other = Checkpoint(repo="owner/model", revision="f" * 40, licence="apache-2.0")
    with pytest.raises(WeightsMissing, match="make them agree"):
        store(tmp_path, mirror).folder(other)


def test_non_commercial_weights_need_a_grant(tmp_path: Path, mirror: Path):
    licensed = Checkpoint(repo="owner/model", revision=None, licence="flux-dev-non-commercial")
    with pytest.raises(NotLicensed, match="RYLA_GRANTS"):
        store(tmp_path, mirror).folder(licensed)
    assert store(tmp_path, mirror, grants=("owner/model",)).folder(licensed).exists()
    assert store(tmp_path, mirror, commercial=False).folder(licensed).exists()


def test_many_processes_fetch_once(tmp_path: Path, mirror: Path):
    fetched: list[str] = []

    class Counting(MirrorSource):
        def fetch(self, repo: str, pin: Pin, into: Path) -> None:
            fetched.append(repo)
            super().fetch(repo, pin, into)

    shared = PinnedStore(tmp_path / "root", Counting(f"file://{mirror}"), pins(), commercial_only=True, grants=frozenset())
    threads = [threading.Thread(target=shared.folder, args=(CHECKPOINT,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == ["owner/model"]
