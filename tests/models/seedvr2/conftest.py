from pathlib import Path

import pytest

from models.runner import Call, Progress
from models.seedvr2.runner import SeedVR2
from models.tiny.seedvr2 import build
from models.weights import Loading


@pytest.fixture(scope="session", params=["3b", "7b"])
def checkpoint(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(f"seedvr2-{request.param}")
    build(folder, request.param)
    return folder


@pytest.fixture(scope="session")
def runner(tmp_path_factory) -> SeedVR2:
    folder = tmp_path_factory.mktemp("seedvr2")
    build(folder)
    return SeedVR2(Loading({"base": folder}))


@pytest.fixture
def reports() -> list[Progress]:
    return []


@pytest.fixture
def call(reports) -> Call:
    return Call(on_progress=reports.append)
