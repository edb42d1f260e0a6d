"""A mirror in a few lines of test code, for tests of its client: it speaks as `modal_burst/mirror.py` says, and does as it is told."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from modal_burst.backend import ModalBackend
from modal_burst.faults import pack_error
from modal_burst.line import CLASS_NAME
from modal_burst.manifest import manifest
from modal_burst.settings import BurstSettings
from modal_burst.wire import pack
from models.runner import Card, Finished, Progress
from tests.modal_burst.loopback.server import LoopbackModal

APP = BurstSettings.model_fields["mirror_app"].default
STAGE = Finished({"faces": 1}, 2.0, {"denoise": 2.0}, Card("L40S", 0.5))
Script = Callable[[dict[str, Any]], AsyncIterator[Any]]


async def picture(payload: dict[str, Any]) -> AsyncIterator[Any]:
    """What most calls get: progress, media in two parts, and the end."""
    yield {"progress": pack(Progress("denoise", 1, 2))}
    yield {"pulse": time.time()}
    yield {"media": b"first,"}
    yield {"media": b"second"}
    yield done(12)


def done(size: int, *stages: Finished) -> dict[str, Any]:
    return {"done": {"content_type": "image/png", "bytes": size, "stages": pack(stages or (STAGE,))}}


def error(of: BaseException) -> dict[str, Any]:
    return {"error": pack_error(of)}


@dataclass
class ScriptedMirror:
    """Runs `script` for every call, and remembers what became of each."""

    script: Script = picture
    begun: int = 0
    stopped: int = 0
    finished: int = 0
    payloads: list[dict[str, Any]] = field(default_factory=list)
    _free_since: dict[str, float] = field(default_factory=dict)

    async def produce(self, context: Any, payload: dict[str, Any]) -> AsyncIterator[Any]:
        container = context.container
        idle_s = time.monotonic() - self._free_since.get(container.id, time.monotonic())
        earlier = container.inputs_taken - 1
        yield {"opened": {"call": context.call_id, "container": container.id, "earlier_calls": earlier, "idle_s": idle_s}}
        self.begun += 1
        self.payloads.append(payload)
        try:
            async for item in self.script(payload):
                yield item
            self.finished += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise
        finally:
            self._free_since[container.id] = time.monotonic()

    def deploy(self, cloud: LoopbackModal, *, version: str | None = None, **options: Any) -> None:
        tags = {"manifest": manifest("tiny") if version is None else version}

        async def frames(context: Any, payload: dict[str, Any]) -> AsyncIterator[Any]:
            async for item in self.produce(context, payload):
                yield item

        methods = {"produce": self.produce, "frames": frames}
        cloud.serve(APP, CLASS_NAME, methods, parameters={"deployments": str}, tags=tags, **options)


async def up(backend: ModalBackend, seconds: float = 20.0) -> None:
    """Return when there is a line to the mirror, however many tries that took."""
    async with asyncio.timeout(seconds):
        while backend.fault is not None:
            await asyncio.sleep(0.02)
