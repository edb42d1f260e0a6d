import pytest

from models.qwen_image import QwenImage, QwenImageEdit
from models.tiny import qwen_image as toy
from models.weights import Loading


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("qwen")
    toy.build_2512(root / "base")
    toy.build_edit_2511(root / "edit")
    toy.build_lightning_2512(root / "lightning")
    toy.build_lightning_edit(root / "edit-lightning")
    return {folder.name: folder for folder in root.iterdir()}


@pytest.fixture(scope="session")
def qwen(folders):
    return QwenImage(Loading({"base": folders["base"], "lightning": folders["lightning"]}))


@pytest.fixture(scope="session")
def editor(folders):
    return QwenImageEdit(Loading({"base": folders["edit"], "lightning": folders["edit-lightning"]}))
