"""A gateway without Ray that bursts through the real client to real runners behind the loopback."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import av
import httpx
import numpy as np

from deployments import deployments, endpoints
from deployments.spec.stores import lora_files
from modal_burst.line import CLASS_NAME
from modal_burst.manifest import manifest
from modal_burst.mirror import Ids, Mirror
from modal_burst.settings import MirrorSettings
from serve.call_metrics import CallMetrics
from serve.calls import Calls
from serve.dispatch import Cluster
from serve.ingress import Api, create_app
from serve.jobs import Jobs
from serve.loras import Loras
from serve.placement import dispatcher, estimator_of
from serve.settings import Settings
from tests.modal_burst.loopback.server import LoopbackModal


def path_of(stages: int) -> str:
    """An endpoint of one stage or two that makes a clip."""
    wanted = ("text", 1) if stages == 1 else ("text+image", 2)
    return next(e.path for e in endpoints().values() if (e.input_type, len(e.deployments)) == wanted and e.output_type == "video")


def pixels(media: bytes) -> np.ndarray:
    with av.open(io.BytesIO(media)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


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


@asynccontextmanager
async def gateway(settings: Settings, cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that runs its calls on `cluster`, and on the mirror that the environment names."""
    jobs, known = Jobs(settings.database_url), deployments()
    estimator = estimator_of(settings, known)
    placed = dispatcher(settings, cluster, jobs.engine, known, estimator)
    await placed._bursts.wake(wait=True)
    metrics = CallMetrics(known, settings.rates, estimator, lambda *_, **__: None)
    loras = Loras(jobs.engine, lora_files(settings), known, settings.max_lora_bytes, None)
    calls = Calls(placed, jobs, settings.rates, metrics, loras)
    app = create_app(Api(endpoints(), known, calls, settings, None))
    try:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app, client=("127.0.0.1", 1)), base_url="http://ryla", timeout=120
        ) as client:
            yield client
    finally:
        await placed._bursts.close()
