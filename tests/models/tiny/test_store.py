from concurrent.futures import ThreadPoolExecutor

import pytest

import models.tiny
from models.errors import WeightsMissing
from models.tiny import TinyStore
from models.weights import Checkpoint

T2V = Checkpoint(repo="Wan-AI/Wan2.1-T2V-1.3B-Diffusers", revision=None, licence="apache-2.0")


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_checkpoint_comes_out_of_every_build(tmp_path):
    one, two = (TinyStore(tmp_path / name).folder(T2V) for name in ("one", "two"))
    assert contents(one) == contents(two)
    assert contents(one)


def test_a_checkpoint_is_built_once_by_many_at_once(tmp_path, monkeypatch):
    built: list[str] = []

    def build(repo, into):
        built.append(repo)
        (into / "model_index.json").write_text("{}")

    monkeypatch.setattr(models.tiny, "build", build)
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: TinyStore(tmp_path).folder(T2V), range(4)))
    assert built == [T2V.repo]
    assert len(folders) == 1


def test_a_build_that_fails_leaves_nothing_and_is_tried_again(tmp_path, monkeypatch):
    def broken(repo, into):
        (into / "half").write_text("")
        raise OSError("disk full")

    store = TinyStore(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(models.tiny, "build", broken)
        with pytest.raises(OSError, match="disk full"):
            store.folder(T2V)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert (store.folder(T2V) / "model_index.json").is_file()


def test_an_unknown_repository_is_named(tmp_path):
    with pytest.raises(WeightsMissing, match="nobody/nothing"):
        TinyStore(tmp_path).folder(Checkpoint(repo="nobody/nothing", revision=None, licence="mit"))
