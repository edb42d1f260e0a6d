import pytest

from models.tiny.z_image import build_turbo
from models.weights import Loading
from models.z_image import ZImage


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("z-image")
    build_turbo(folder)
    return folder


@pytest.fixture(scope="session")
def z_image(folder):
    return ZImage(Loading({"base": folder}))
