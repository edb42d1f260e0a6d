"""The API without Ray, bursting through the real client to real runners behind the loopback: what callers and the job table see."""

from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
import pytest_asyncio

from deployments import endpoints
from modal_burst.settings import MirrorSettings
from serve.burst import Bursts
from serve.overflow import Route
from serve.settings import Settings
from tests.modal_burst.loopback.server import LoopbackModal
from tests.serve.bursting import BOUNDS
from tests.serve.inprocess import InProcess
from tests.serve.mirrored import RealMirror, gateway, path_of, pixels

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]
SIZE = {"width": 128, "height": 128, "length": 5, "steps": 2, "seed": 7, "output_format": "mp4"}


@pytest_asyncio.fixture
async def http(tmp_path, tiny_root, monkeypatch) -> AsyncIterator[httpx.AsyncClient]:
    root = tmp_path / "weights"
    root.mkdir()
    (root / "tiny").symlink_to(tiny_root)
    with LoopbackModal() as cloud:
        for key, value in (cloud.env | BOUNDS | {"RYLA_BURST_SILENCE_S": "20", "RYLA_BURST_REQUEST_S": "10"}).items():
            monkeypatch.setenv(key, value)
        RealMirror(MirrorSettings(profile="tiny", weights_root=root)).deploy(cloud)
        settings = Settings(
            burst="on",
            burst_after_s=0.1,
            burst_dwell_s=0.5,
            database_url=f"sqlite:///{tmp_path}/jobs.db",
            lora_root=str(tmp_path / "loras"),
        )
        async with gateway(settings, InProcess(root / "tiny")) as client:
            yield client


async def test_the_mirror_gives_the_same_pixels_and_says_what_happened(http):
    body = {"prompt": "a lighthouse"} | SIZE
    here = await http.post(path_of(1), json=body, headers={"X-Burst": "never"})
    there = await http.post(path_of(1), json=body, headers={"X-Burst": "force"})
    assert (here.status_code, there.status_code) == (200, 200), there.text
    assert (here.headers["X-Backend"], here.headers["X-Burst-Reason"]) == ("cluster", "asked")
    assert (there.headers["X-Backend"], there.headers["X-Burst-Reason"]) == ("modal", "asked")
    assert there.headers["X-GPU-Type"] in ("L40S", "A100-80GB")
    assert float(there.headers["X-Cost-USD"]) > 0
    assert np.array_equal(pixels(here.content), pixels(there.content))
    row = (await http.get(f"/jobs/{there.headers['X-Job-Id']}")).json()
    assert (row["state"], row["backend"], row["attempt"]) == ("succeeded", "modal", 1)
    assert row["cost_usd"] == pytest.approx(float(there.headers["X-Cost-USD"]), abs=1e-6)


async def test_a_chain_bursts_whole_and_in_part_with_the_same_pixels(http, face_url, monkeypatch):
    needed = {name: face_url for name, f in endpoints()[path_of(2)].request.model_fields.items() if f.is_required() and "image" in name}
    body = {"prompt": "a lighthouse"} | SIZE | needed
    replies = {"cluster": await http.post(path_of(2), json=body, headers={"X-Burst": "never"})}
    everything = Bursts.offers
    for name, route in (("modal", Route.WHOLE), ("modal+cluster", Route.PART)):
        monkeypatch.setattr(Bursts, "offers", lambda *a, only=route, **k: [o for o in everything(*a, **k) if o.route is only])
        replies[name] = await http.post(path_of(2), json=body, headers={"X-Burst": "force"})
    for name, reply in replies.items():
        assert reply.status_code == 200, reply.text
        assert reply.headers["X-Backend"] == name
        assert np.array_equal(pixels(reply.content), pixels(replies["cluster"].content)), name


async def test_x_burst_must_be_known(http):
    reply = await http.post(path_of(1), json={"prompt": "a"} | SIZE, headers={"X-Burst": "maybe"})
    assert reply.status_code == 400
    assert "never, auto, force" in reply.json()["error"]
