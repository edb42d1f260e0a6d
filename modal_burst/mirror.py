"""What runs in a container of the mirror, without a word about Modal: hosts of the declared models, and calls as streams of plain items.

A call is answered with items, each a map of one entry:
- "opened": who runs it, at once, so that the caller can cancel;
- "pulse": still at work, when there is nothing else to say;
- "progress": a Progress;
- "media": a part of the result's bytes; or "frames": a chunk of the clip;
- "done": the last one: the stages' Finished, and the content type of the media;
- or "error": the last one too.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from deployments import deployments
from deployments.spec.endpoint import Plan, Stage
from deployments.spec.stores import lora_stack, weight_store
from modal_burst.faults import bad_manifest, pack_error
from modal_burst.frames import pack_frames
from modal_burst.manifest import manifest
from modal_burst.meter import Meter
from modal_burst.pools import SEPARATOR, pool
from modal_burst.settings import MirrorSettings
from modal_burst.wire import Wire, pack, unpack
from models.acceleration import default_device
from models.errors import DeadlineExceeded, NotConfigured, OutOfMemory
from models.host import Result, RunnerHost
from models.lora.holding import held
from models.runner import Card, Finished, FrameEvent, Frames, Progress
from models.stopping import stop
from models.task import Task
from models.weights import Loading, folders

PULSE_S: Final = 5.0
PART_BYTES: Final = 1_500_000  # the platform carries items up to 2 MiB in its messages; larger ones take a detour over storage
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ids:
    """Who runs a call: the platform's ids of the call and of the container."""

    call: str
    container: str


class Mirror:
    """The models of one pool, loaded, and the calls that run on them."""

    def __init__(self, key: str, settings: MirrorSettings) -> None:
        names = tuple(key.split(SEPARATOR))
        self._pool = pool(names)
        self._manifest = manifest(settings.profile)
        self._meter = Meter()
        self._calls = self._running = 0
        self._free_since = time.monotonic()
        self.sick = False  # out of memory: take no more calls, the card's memory is fragmented for good
        card = Card(self._pool.gpu)
        self._models = {name: _Model(name, settings, card) for name in names}

    async def produce(self, payload: Mapping[str, Any], ids: Ids) -> AsyncGenerator[Wire, None]:
        """Run the plan in `payload` and stream its media."""
        async with aclosing(self._answer(payload, ids, self._media(payload))) as items:
            async for item in items:
                yield item

    async def frames(self, payload: Mapping[str, Any], ids: Ids) -> AsyncGenerator[Wire, None]:
        """Run the stage in `payload`, the first half of a chain, and stream its frames."""
        async with aclosing(self._answer(payload, ids, self._clip(payload))) as items:
            async for item in items:
                yield item

    async def _answer(self, payload: Mapping[str, Any], ids: Ids, work: AsyncGenerator[Wire, None]) -> AsyncGenerator[Wire, None]:
        """The items of `work` between the first and the last that every call has."""
        idle_s = 0.0 if self._running else time.monotonic() - self._free_since
        yield {"opened": {"call": ids.call, "container": ids.container, "earlier_calls": self._calls, "idle_s": idle_s}}
        self._calls += 1
        self._running += 1
        async with aclosing(work):
            try:
                self._admit(payload)
                async with aclosing(with_pulse(work, PULSE_S)) as items:
                    async for item in items:
                        yield {"pulse": time.time()} if item is None else item
            except Exception as error:
                self.sick = self.sick or isinstance(error, OutOfMemory)
                yield {"error": pack_error(error)}
            finally:
                self._running -= 1
                self._free_since = time.monotonic()

    def _admit(self, payload: Mapping[str, Any]) -> None:
        if payload.get("manifest") != self._manifest:
            raise bad_manifest(self._manifest, payload.get("manifest"))
        deadline = _deadline(payload)
        if deadline is not None and time.time() > deadline:
            raise DeadlineExceeded("the deadline passed before a container was free; allow more time for a cold start")

    async def _media(self, payload: Mapping[str, Any]) -> AsyncGenerator[Wire, None]:
        plan, deadline = await asyncio.to_thread(unpack, Plan, payload.get("plan")), _deadline(payload)
        first, last = self._model(plan.stages[0]), self._model(plan.stages[-1])
        upstream = self._frames(first, plan.stages[0].task, deadline) if len(plan.stages) == 2 else None
        task = plan.stages[-1].task
        with self._meter.call() as charged:
            async with (
                held(last.loras, task) as facts,
                aclosing(last.host.produce(task, plan.encoding, deadline=deadline, upstream=upstream)) as events,
            ):
                async for event in events:
                    if isinstance(event, Progress):
                        yield {"progress": pack(event)}
                        continue
                    for part in _parts(event):
                        yield {"media": part}
                    event.stages[-1].facts.update(facts)
                    stages = share_out(event.stages, charged())
                    yield {"done": {"content_type": event.content_type, "bytes": len(event.media), "stages": pack(stages)}}

    async def _clip(self, payload: Mapping[str, Any]) -> AsyncGenerator[Wire, None]:
        stage = await asyncio.to_thread(unpack, Stage, payload.get("stage"))
        with self._meter.call() as charged:
            async with aclosing(self._frames(self._model(stage), stage.task, _deadline(payload))) as events:
                async for event in events:
                    if isinstance(event, Frames):
                        yield {"frames": await asyncio.to_thread(pack_frames, event)}
                    elif isinstance(event, Progress):
                        yield {"progress": pack(event)}
                    else:
                        yield {"done": {"stages": pack(share_out((event,), charged()))}}

    async def _frames(self, model: "_Model", task: Task, deadline: float | None) -> AsyncGenerator[FrameEvent, None]:
        async with held(model.loras, task) as facts, aclosing(model.host.frames(task, deadline=deadline)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    event.facts.update(facts)
                yield event

    def _model(self, stage: Stage) -> "_Model":
        if stage.deployment not in self._models:
            raise NotConfigured(f"this container holds {self._pool.key}, not {stage.deployment!r}")
        return self._models[stage.deployment]

    def close(self) -> None:
        """Free the models."""
        for model in self._models.values():
            model.host.close()


def share_out(stages: Iterable[Finished], charged_s: float) -> tuple[Finished, ...]:
    """The stages with their shares of the card set so that they cost together what the container charged the call."""
    finished = tuple(stages)
    busy = sum(stage.busy_s for stage in finished)
    share = charged_s / busy if busy > 0 else 0.0
    return tuple(replace(stage, card=replace(stage.card, share=share)) for stage in finished)


async def with_pulse(items: AsyncGenerator[T, None], every_s: float) -> AsyncGenerator[T | None, None]:
    """The items, and None whenever there was none for `every_s`."""
    coming: asyncio.Future[T] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(items))
            await asyncio.wait([coming], timeout=every_s)
            if not coming.done():
                yield None
                continue
            try:
                item = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield item
    finally:
        if coming is not None:
            await stop(coming)


class _Model:
    """One loaded model and its LoRAs."""

    def __init__(self, name: str, settings: MirrorSettings, card: Card) -> None:
        declared, device = deployments()[name], default_device()
        files = folders(weight_store(settings), declared.weights)
        self.loras = lora_stack(declared, files, settings, device)
        runner = declared.load(Loading(files, device, settings.safety), self.loras)
        self.host = RunnerHost(runner, declared.concurrency, card, batch=declared.batch, sealer=settings.sealer())


def _parts(result: Result) -> Iterable[bytes]:
    return (result.media[start : start + PART_BYTES] for start in range(0, len(result.media), PART_BYTES))


def _deadline(payload: Mapping[str, Any]) -> float | None:
    deadline = payload.get("deadline")
    if not isinstance(deadline, int | float | None):
        raise NotConfigured("the deadline must be a time or not given")
    return deadline
