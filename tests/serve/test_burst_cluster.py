"""Bursts from a real Serve cluster: while its one replica is busy, the mirror answers with the same pixels; later it does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest
import pytest_asyncio
from ray import serve as ray_serve

from deployments import endpoints
from modal_burst.settings import MirrorSettings
from serve.apps import Handles
from serve.cluster import ClusterBackend
from serve.local import APP
from serve.settings import Settings
from tests.modal_burst.loopback.server import LoopbackModal
from tests.serve.bursting import BOUNDS
from tests.serve.mirrored import RealMirror, gateway, path_of, pixels

pytestmark = [pytest.mark.ray, pytest.mark.asyncio, pytest.mark.timeout(240)]
CLIP = {"prompt": "a lighthouse", "width": 128, "height": 128, "length": 5, "steps": 2, "seed": 7, "output_format": "mp4"}
LONG = CLIP | {"width": 256, "height": 256, "length": 81, "steps": 100, "seed": 1}

MODEL = endpoints()[path_of(1)].deployments[0]
replicas = Handles(lambda name: ray_serve.get_deployment_handle(name, APP))


@pytest.fixture
def cloud(served, monkeypatch):
    with LoopbackModal() as modal:
        for key, value in (modal.env | BOUNDS | {"RYLA_BURST_SILENCE_S": "20", "RYLA_BURST_REQUEST_S": "10"}).items():
            monkeypatch.setenv(key, value)
        RealMirror(MirrorSettings(profile="tiny", weights_root=served.settings.weights_root)).deploy(modal)
        yield modal


@pytest_asyncio.fixture
async def http(cloud, served, tmp_path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(
        burst="on",
        burst_after_s=0.5,
        burst_dwell_s=0.5,
        burst_usd_per_call=5.0,
        burst_usd_per_minute=20.0,
        database_url=f"sqlite:///{tmp_path}/jobs.db",
        lora_root=str(tmp_path / "loras"),
    )
    async with gateway(settings, ClusterBackend(replicas)) as client:
        yield client


@asynccontextmanager
async def busy(http: httpx.AsyncClient):
    """The replica works on a long clip, which its caller leaves at the end."""
    long = asyncio.create_task(http.post(path_of(1), json=LONG))
    try:
        await until_running(1)
        yield
    finally:
        long.cancel()
        await asyncio.wait([long])
    await until_running(0)


async def until_running(calls: int) -> None:
    async with asyncio.timeout(60):
        while (await (await replicas(MODEL)).state.remote()).running != calls:
            await asyncio.sleep(0.05)


async def sent(http: httpx.AsyncClient, **headers: str) -> tuple[str, str, np.ndarray]:
    """One clip: where it was made, why there, and its pixels."""
    reply = await http.post(path_of(1), json=CLIP, headers=headers)
    assert reply.status_code == 200, reply.text
    assert float(reply.headers["X-Cost-USD"]) > 0
    return reply.headers["X-Backend"], reply.headers["X-Burst-Reason"], pixels(reply.content)


async def test_the_mirror_answers_while_the_replica_is_busy_and_no_longer_after(http, cloud):
    for _ in range(3):  # so that it has learned how long clips take here and there
        *where, here = await sent(http)
        assert where == ["cluster", "in-time"]
        assert (await sent(http, **{"X-Burst": "force"}))[0] == "modal"
    async with busy(http):
        *where, there = await sent(http)
    assert where == ["modal", "late"]
    assert np.array_equal(here, there)
    assert len(cloud.inputs) == 4
    for _ in range(4):
        *where, again = await sent(http)
        assert where == ["cluster", "in-time"]
        assert np.array_equal(here, again)
        await asyncio.sleep(0.2)
    assert len(cloud.inputs) == 4
