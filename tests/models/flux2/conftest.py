import pytest

from models.flux2 import Flux2Klein
from models.tiny.flux2 import build_klein
from models.weights import Loading


@pytest.fixture(scope="session")
def klein(tmp_path_factory):
    folder = tmp_path_factory.mktemp("klein")
    build_klein(folder)
    return Flux2Klein(Loading({"base": folder}))
