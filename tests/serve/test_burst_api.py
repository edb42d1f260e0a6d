"""The API without Ray, bursting through the real client to real runners behind the loopback: what callers and the job table see."""

import asyncio
import io
from collections.abc import AsyncIterator

import av
import httpx
import numpy as np
import pytest
import pytest_asyncio
from fastapi import FastAPI

from deployments import deployments, endpoints
from modal_burst.line import CLASS_NAME
from modal_burst.manifest import manifest
from modal_burst.mirror import Ids, Mirror
from modal_burst.settings import MirrorSettings
from serve.burst import Bursts
from serve.call_metrics import CallMetrics
from serve.calls import Calls
from serve.ingress import Api, create_app
from serve.jobs import Jobs
from serve.loras import Loras
from serve.overflow import Route
from serve.placement import dispatcher
from serve.settings import Settings
from serve.store import lora_files
from tests.modal_burst.loopback.server import LoopbackModal
from tests.serve.bursting import BOUNDS
from tests.serve.inprocess import InProcess

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]
SIZE = {"width": 128, "height": 128, "length": 5, "steps": 2, "seed": 7, "output_format": "mp4"}


def path_of(stages: int) -> str:
    """An endpoint of one stage or two that makes a clip."""
    wanted = ("text", 1) if stages == 1 else ("text+image", 2)
    return next(e.path for e in endpoints().values() if (e.input_type, len(e.deployments)) == wanted and e.output_type == "video")


class RealMirror:
    """The mirror's own class, in the loopback's process instead of a container's."""

    def __init__(self, settings: MirrorSettings) -> None:
        self._settings = settings
        self._pools: dict[str, Mirror] = {}

    def deploy(self, cloud: LoopbackModal) -> None:
        methods = {"produce": self._method("produce"), "frames": self._method("frames")}
        cloud.serve("ryla-mirror", CLASS_NAME, methods, parameters={"deployments": str}, tags={"manifest": manifest("tiny")})

    def _method(self, name: str):
        async def method(context, payload) -> AsyncIterator[object]:
            key = context.parameters["deployments"]
            if key not in self._pools:
                self._pools[key] = await asyncio.to_thread(Mirror, key, self._settings)
            async for item in getattr(self._pools[key], name)(payload, Ids(context.call_id, context.container.id)):
                yield item

        return method


@pytest_asyncio.fixture
async def app(tmp_path, tiny_root, monkeypatch) -> AsyncIterator[FastAPI]:
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
        jobs, known = Jobs(settings.database_url), deployments()
        placed = dispatcher(settings, InProcess(root / "tiny"), jobs.engine, known)
        await placed._bursts.wake(wait=True)
        metrics = CallMetrics(known, settings.rates, lambda *_, **__: None)
        loras = Loras(jobs.engine, lora_files(settings), known, settings.max_lora_bytes, None)
        calls = Calls(placed, jobs, settings.rates, metrics, loras)
        yield create_app(Api(endpoints(), known, calls, settings, None))
        await placed._bursts.close()


@pytest_asyncio.fixture
async def http(app) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://ryla", timeout=120) as client:
        yield client


def pixels(media: bytes) -> np.ndarray:
    with av.open(io.BytesIO(media)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


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


async def test_a_chain_bursts_whole_and_in_part_with_the_same_pixels(http, app, face_url, monkeypatch):
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
