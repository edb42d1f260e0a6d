import hashlib

import fsspec
import pytest

from models.errors import NotFound, WeightsMissing
from models.lora.base import Base
from models.lora.files import LoraFiles


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "source"
    file.write_bytes(b"not really a LoRA")
    return file, hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(params=["local", "remote"])
def files(request, tmp_path):
    root = str(tmp_path / "root") if request.param == "local" else f"memory://{tmp_path.name}/loras"
    return LoraFiles(root, tmp_path / "cache", 1000)


def test_a_stored_file_is_found_by_its_hash(files, source):
    file, digest = source
    files.put(file, digest)
    files.put(file, digest)
    path, tier = files.local(digest)
    assert path.read_bytes() == file.read_bytes()
    assert tier == ("disk" if files._is_local else "cold")
    assert files.local(digest)[1] == "disk"


def test_a_file_that_is_gone_is_not_found(files, source):
    file, digest = source
    files.put(file, digest)
    files.remove(digest)
    files.remove(digest)
    with pytest.raises(NotFound):
        files.local(digest)


def test_a_damaged_file_is_refused_and_not_kept(tmp_path, source):
    file, digest = source
    files = LoraFiles("memory://damaged/loras", tmp_path / "cache", 1000)
    files.put(file, digest)
    fsspec.filesystem("memory").pipe_file(f"/damaged/loras/{digest}.safetensors", b"something else")
    with pytest.raises(WeightsMissing, match="damaged"):
        files.local(digest)
    assert list((tmp_path / "cache").glob("*.safetensors")) == []
    assert list((tmp_path / "cache").glob("*.part")) == []


def test_the_cache_drops_what_was_used_longest_ago(tmp_path):
    files = LoraFiles("memory://many/loras", tmp_path / "cache", 25)
    digests = []
    for number in range(4):
        file = tmp_path / f"{number}"
        file.write_bytes(b"0123456789" + bytes([number]))
        digests.append(hashlib.sha256(file.read_bytes()).hexdigest())
        files.put(file, digests[-1])
        files.local(digests[-1])
    kept = {path.stem for path in (tmp_path / "cache").glob("*.safetensors")}
    assert kept == set(digests[2:])


def test_bases_are_written_down_for_the_gateway(files):
    assert files.base("flux-dev") is None
    base = Base("FluxLoraLoaderMixin", {"transformer.x": (4, 3)}, 16)
    files.publish_base("flux-dev", base)
    assert files.base("flux-dev") == base


def test_only_hashes_name_files(files):
    with pytest.raises(AssertionError):
        files.local("../../etc/passwd")
