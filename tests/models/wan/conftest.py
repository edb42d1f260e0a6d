"""Toy checkpoints of the Wan family, built once a session, and loaded once a module."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.tiny import TinyStore
from models.weights import Checkpoint


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Callable[[str], Path]:
    store = TinyStore(tmp_path_factory.mktemp("weights"))
    return lambda repo: store.folder(Checkpoint(repo=repo, revision=None, licence="apache-2.0"))


@pytest.fixture(scope="session")
def t2v_folder(folder) -> Path:
    return folder("Wan-AI/Wan2.1-T2V-1.3B-Diffusers")
