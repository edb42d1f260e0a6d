"""Fixtures of the Modal tests: a loopback control plane, and a client that talks to it and to nothing else."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

os.environ["MODAL_CONFIG_PATH"] = os.devnull  # read when modal is first imported: keep the machine's own account out

from modal.client import Client

from tests.modal_burst.loopback.server import TOKEN_ID, TOKEN_SECRET, LoopbackModal


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackModal]:
    with LoopbackModal() as modal:
        for key, value in modal.env.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("MODAL_MAX_THROTTLE_WAIT", "")  # the library's default, whatever a line has set it to before
        yield modal


@pytest_asyncio.fixture
async def client(cloud: LoopbackModal) -> AsyncIterator[Client]:
    """Explicit, because the client made from the environment is one for the whole process."""
    made = await Client.from_credentials.aio(TOKEN_ID, TOKEN_SECRET)
    yield made
    await made.close.aio()
