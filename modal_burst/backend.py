"""The `modal` backend: runs plans on the mirror, with the same events as the cluster."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from deployments.spec.endpoint import Plan, Stage
from modal_burst.call import Bounds, Item, RemoteCall
from modal_burst.faults import kind_of
from modal_burst.frames import unpack_frames
from modal_burst.line import Line
from modal_burst.manifest import manifest
from modal_burst.pools import Pool, pool, pool_of
from modal_burst.settings import BurstSettings
from modal_burst.wire import pack, unpack
from models.errors import BackendFailed, FaultKind, NotConfigured, RylaError
from models.host import Event, Result
from models.lora.holding import loras_of
from models.runner import Finished, FrameEvent, Frames, Progress

log = logging.getLogger("ryla.burst")

START_FACTOR: Final = 4.0  # a call may wait this many expected cold starts for a container
START_MARGIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Headroom:
    """The load of a pool: containers that run or start, calls that they run, and calls that wait for one."""

    containers: int
    running: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Report:
    """How one call went, for whoever learns cold starts and service times and keeps a circuit breaker.

    kind: why it failed; None for success. opened_s: from sending it to its start in a container. cold: it was that container's first.
    charged_s: seconds of container time that are its share; 0 when it failed. idle_s: how long the container idled before the call.
    """

    pool: Pool
    kind: FaultKind | None
    opened_s: float | None
    cold: bool
    total_s: float
    charged_s: float
    idle_s: float = 0.0


Observer: TypeAlias = Callable[[Report], None]


class BurstBackend(Protocol):
    """Somewhere outside the cluster that runs the same models."""

    name: str

    @property
    def fault(self) -> RylaError | None:
        """Why no call can be sent now; None when one can."""
        ...

    def run(self, plan: Plan, *, deadline: float | None, observe: Observer | None = None) -> AsyncGenerator[Event, None]:
        """Run `plan`, yielding Progress and, last, one Result. Closing the generator cancels the run. `observe` is told how it went."""
        ...

    def frames(self, stage: Stage, *, deadline: float | None, observe: Observer | None = None) -> AsyncGenerator[FrameEvent, None]:
        """Run one stage and yield its frames as they are made; the last item is a Finished."""
        ...

    async def headroom(self, pool: Pool) -> Headroom:
        """The load of a pool."""
        ...

    async def keep_warm(self, pool: Pool, containers: int) -> None:
        """Keep at least this many containers up, until it is called again."""
        ...


class ModalBackend:
    """Calls the mirror. `observe` is told how each call went."""

    name = "modal"

    def __init__(self, settings: BurstSettings, observe: Observer | None = None) -> None:
        self._settings = settings
        self._observe = observe
        self._line = Line(settings)
        self._hanging_up: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to connect; calls fail at once until that is done."""
        await self._line.start()

    async def settled(self, timeout_s: float) -> bool:
        """Wait until a first try to connect has ended; say whether there is a connection."""
        return await self._line.settled(timeout_s)

    async def close(self) -> None:
        """Hang up. Calls that are being cancelled get the time of one request for it."""
        if self._hanging_up:
            await asyncio.wait(self._hanging_up, timeout=self._settings.burst_request_s)
        await self._line.close()
        if self._hanging_up:
            await asyncio.wait(self._hanging_up)

    @property
    def fault(self) -> RylaError | None:
        """Why no call can be sent now; None when one can."""
        return self._line.fault

    async def run(self, plan: Plan, *, deadline: float | None, observe: Observer | None = None) -> AsyncGenerator[Event, None]:
        """Run `plan` in a container that holds all its deployments. Raises the model's own error, DeadlineExceeded, or BackendFailed."""
        self._check_loras(plan.stages)
        parts: list[bytes] = []
        async with self._call(pool_of(plan), "produce", "plan", plan, deadline, observe) as out:
            async for item in out.items:
                match item:
                    case {"progress": progress}:
                        yield unpack(Progress, progress)
                    case {"media": bytes(part)}:
                        parts.append(part)
                    case {"done": {"content_type": str(kind), "bytes": int(size), "stages": stages}} if size == sum(map(len, parts)):
                        yield Result(b"".join(parts), kind, out.done(stages))
                    case _:
                        raise _unknown(item)

    async def frames(self, stage: Stage, *, deadline: float | None, observe: Observer | None = None) -> AsyncGenerator[FrameEvent, None]:
        """Run one stage, the first half of a chain whose second half runs elsewhere."""
        self._check_loras((stage,))
        async with self._call(pool((stage.deployment,)), "frames", "stage", stage, deadline, observe) as out:
            async for item in out.items:
                match item:
                    case {"progress": progress}:
                        yield unpack(Progress, progress)
                    case {"frames": dict() as data}:
                        yield await asyncio.to_thread(_frames, data)
                    case {"done": {"stages": [_] as stages}}:
                        yield out.done(stages)[0]
                    case _:
                        raise _unknown(item)

    async def headroom(self, pool: Pool) -> Headroom:
        """The load of a pool. Raises BackendFailed."""
        handle = self._line.session().containers(pool)
        stats = await self._line.bounded(handle.produce.get_current_stats.aio())
        return Headroom(containers=stats.num_total_runners, running=stats.num_running_inputs, waiting=stats.backlog)

    async def keep_warm(self, pool: Pool, containers: int) -> None:
        """Keep at least this many containers up, until it is called again. Raises BackendFailed."""
        handle = self._line.session().containers(pool)
        await self._line.bounded(handle.produce.autoscaler.update.aio(min_containers=containers))

    def _check_loras(self, stages: Sequence[Stage]) -> None:
        """Raise BackendFailed for LoRAs that containers cannot fetch. A fault of this call alone: others may burst."""
        uploaded = [use.name for stage in stages for use in loras_of(stage.task) if use.sha256]
        if uploaded and "://" not in self._settings.lora_root:
            told = f"LoRA {uploaded[0]!r} lies in a folder of this machine, which the mirror cannot reach"
            raise BackendFailed(f"{told}; keep LoRAs in a bucket (RYLA_LORA_ROOT=s3://…)", None, FaultKind.MODEL)

    @asynccontextmanager
    async def _call(
        self, pool: Pool, method: str, name: str, work: object, deadline: float | None, observe: Observer | None
    ) -> "AsyncGenerator[_Out]":
        """A call that is out; leaving this before it is done cancels it. Reports how it went."""
        session = self._line.session()
        start_s = START_MARGIN_S + START_FACTOR * pool.cold_start_s
        ends = time.time() + start_s + pool.longest_s if deadline is None else deadline
        bounds = Bounds(ends, start_s, self._settings.burst_silence_s, self._settings.burst_request_s)
        payload = {"manifest": manifest(self._settings.profile), "deadline": ends, name: await asyncio.to_thread(pack, work)}
        call = RemoteCall(session, getattr(session.containers(pool), method), payload, bounds, self._in_background)
        began = time.monotonic()
        out = _Out(call.items())
        try:
            async with aclosing(out.items):
                yield out
        except NotConfigured as error:
            out.kind = FaultKind.CONFIG
            raise BackendFailed(error.message, None, FaultKind.CONFIG) from error
        except Exception as error:
            out.kind = kind_of(error)
            raise
        finally:
            opened = call.opening
            cold = opened is not None and opened.earlier_calls == 0
            opened_s, idle_s = (None, 0.0) if opened is None else (opened.after_s, opened.idle_s)
            report = Report(pool, out.kind, opened_s, cold, time.monotonic() - began, out.charged_s, idle_s)
            log.info("burst to %s: %s after %.2f s", pool.key, report.kind or "done", report.total_s)
            for listener in filter(None, (self._observe, observe)):
                listener(report)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._hanging_up.add(task)
        task.add_done_callback(self._hanging_up.discard)


@dataclass(slots=True)
class _Out:
    """A call that is out. kind: how it ends if nothing else is said: whoever sent it goes away."""

    items: AsyncGenerator[Item, None]
    kind: FaultKind | None = FaultKind.CANCELLED
    charged_s: float = 0.0

    def done(self, stages: object) -> tuple[Finished, ...]:
        """The call's stages; it has ended well."""
        finished = unpack(tuple[Finished, ...], stages)
        self.kind, self.charged_s = None, sum(stage.busy_s * stage.card.share for stage in finished)
        return finished


def _frames(data: Mapping[str, Any]) -> Frames:
    try:
        return unpack_frames(data)
    except (KeyError, TypeError, ValueError) as error:
        raise BackendFailed("the mirror sent frames in a form that is not known here", None, FaultKind.CONFIG) from error


def _unknown(item: Item) -> BackendFailed:
    return BackendFailed(f"the mirror answered with {sorted(item)}, which is not known here", None, FaultKind.CONFIG)
