import pytest

from models.flux import Flux
from models.tiny.flux import build_dev, build_schnell
from models.weights import Loading


@pytest.fixture(scope="session")
def dev_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flux-dev")
    build_dev(folder)
    return folder


@pytest.fixture(scope="session")
def dev(dev_folder):
    return Flux(Loading({"base": dev_folder}))


@pytest.fixture(scope="session")
def schnell(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flux-schnell")
    build_schnell(folder)
    return Flux(Loading({"base": folder}))
