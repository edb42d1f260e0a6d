import pytest

from models.sdxl import Sdxl
from models.tiny.sdxl import build_base, build_lightning, build_single_file, build_turbo
from models.weights import Loading


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sdxl")
    build_base(root / "base")
    build_turbo(root / "turbo")
    build_lightning(root / "lightning")
    build_single_file(root / "RealVisXL_V4.0", "RealVisXL_V4.0", seed=3)
    return {folder.name: folder for folder in root.iterdir()}


@pytest.fixture(scope="session")
def sdxl(folders):
    return Sdxl(Loading(folders), spare_checkpoints=3)
