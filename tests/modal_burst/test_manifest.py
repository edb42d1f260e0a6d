"""The manifest changes with everything that decides an answer, and with nothing else."""

import shutil

import pytest

from modal_burst.manifest import LOCKS, ROOT, SOURCES, manifest, travels


@pytest.fixture
def tree(tmp_path):
    for source in SOURCES:
        (tmp_path / source).mkdir()
        (tmp_path / source / "part.py").write_text("x = 1\n")
    for lock in LOCKS:
        shutil.copy(ROOT / lock, tmp_path / lock)
    return tmp_path


@pytest.mark.parametrize("name", ["models/part.py", "modal_burst/part.py", "deployments/part.py", "deployments/weights.lock", *LOCKS])
def test_a_change_of_code_declarations_pins_or_packages_changes_it(tree, name):
    before = manifest("tiny", tree)
    with (tree / name).open("a") as file:
        file.write("# changed\n")
    manifest.cache_clear()
    assert manifest("tiny", tree) != before


def test_what_python_leaves_behind_does_not_change_it(tree):
    before = manifest("tiny", tree)
    (tree / "models" / "__pycache__").mkdir()
    (tree / "models" / "__pycache__" / "part.cpython-311.pyc").write_bytes(b"x")
    (tree / "models" / ".part.py.swp").write_bytes(b"x")
    manifest.cache_clear()
    assert manifest("tiny", tree) == before


def test_a_moved_file_changes_it(tree):
    before = manifest("tiny", tree)
    (tree / "models" / "part.py").rename(tree / "models" / "other.py")
    manifest.cache_clear()
    assert manifest("tiny", tree) != before


def test_ours_is_a_tag_that_the_platform_takes():
    assert len(manifest("tiny")) == 32
    assert int(manifest("tiny"), 16)


def test_another_profile_is_another_mirror():
    assert manifest("tiny") != manifest("full")


def test_files_of_the_code_travel():
    assert travels((ROOT / "models" / "task.py").relative_to(ROOT))
