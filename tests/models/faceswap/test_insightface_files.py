import hashlib
from pathlib import Path

import pytest

from models.errors import WeightsMissing
from models.faceswap.arc import files


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(name.encode())


def pin(folder: Path, *names: str) -> None:
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()} *{name}\n" for name in names]
    (folder / files.MANIFEST).write_text("".join(lines))


def test_says_what_to_put_where(tmp_path: Path) -> None:
    fill(tmp_path, files.RECOGNISER)
    with pytest.raises(WeightsMissing) as caught:
        files.check_folder(tmp_path)
    assert f"{files.DETECTOR}, {files.SWAPPER} in {str(tmp_path)!r}" in caught.value.message
    assert "non-commercial" in caught.value.message


def test_refuses_files_that_are_not_the_published_ones(tmp_path: Path) -> None:
    fill(tmp_path, files.DETECTOR, files.RECOGNISER, files.SWAPPER)
    with pytest.raises(WeightsMissing, match=f"{files.DETECTOR} .* has SHA-256 .*, expected 5838f7fe"):
        files.check_folder(tmp_path)


def test_a_manifest_admits_other_builds(tmp_path: Path) -> None:
    names = (files.DETECTOR, files.RECOGNISER, files.SWAPPER)
    fill(tmp_path, *names)
    pin(tmp_path, *names)
    found = files.check_folder(tmp_path)
    assert [path.name for path in (found.detector, found.recogniser, found.swapper)] == list(names)


def test_a_file_changed_after_pinning_is_refused(tmp_path: Path) -> None:
    names = (files.DETECTOR, files.RECOGNISER, files.SWAPPER)
    fill(tmp_path, *names)
    pin(tmp_path, *names)
    (tmp_path / files.SWAPPER).write_bytes(b"another")
    with pytest.raises(WeightsMissing, match=files.SWAPPER):
        files.check_folder(tmp_path)


def test_the_half_precision_file_needs_a_pin(tmp_path: Path) -> None:
    names = (files.DETECTOR, files.RECOGNISER, files.SWAPPER_FP16)
    fill(tmp_path, *names)
    pin(tmp_path, *names[:2])
    with pytest.raises(WeightsMissing, match=f"no published hash is known for {files.SWAPPER_FP16}"):
        files.check_folder(tmp_path)
    pin(tmp_path, *names)
    assert files.check_folder(tmp_path).swapper.name == files.SWAPPER_FP16


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / files.MANIFEST).write_text("not a hash\n")
    with pytest.raises(WeightsMissing, match="'not a hash'"):
        files.check_folder(tmp_path)
