"""Hosts one loaded runner for async callers: threads, cancellation, deadline, encoding. Knows nothing of Ray or Modal."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from models.batcher import Batcher
from models.errors import NotConfigured
from models.inlet import Inlet, Outlet
from models.media import Encoding, content_type, encode
from models.provenance import Sealer
from models.runner import CPU, BatchRunner, Call, Card, Finished, FrameEvent, FrameRunner, Frames, Progress, Runner
from models.stopping import stop
from models.task import Task

PROGRESS_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Result:
    """The finished media, encoded once, and a Finished for each stage of the plan, in order."""

    media: bytes
    content_type: str
    stages: tuple[Finished, ...]


Event: TypeAlias = Progress | Result
Last = TypeVar("Last")


class _Clock:
    """Seconds since the thread began to work, so that waiting for a slot or a thread is not charged."""

    def __init__(self) -> None:
        self.started = 0.0

    def start(self) -> None:
        self.started = time.perf_counter()

    def elapsed(self) -> float:
        return time.perf_counter() - self.started


class RunnerHost:
    """Runs tasks on one runner, `concurrency` at a time, each in a thread of its own."""

    def __init__(self, runner: Runner, concurrency: int = 1, card: Card = CPU, *, batch: int = 1, sealer: Sealer | None = None) -> None:
        """sealer: signs media with a swapped face; None signs nothing."""
        self.runner = runner
        self._sealer = sealer
        self.card = card
        self.running = 0
        self.steps: Counter[str] = Counter()  # steps taken since the start, by stage
        self.stops_s: deque[float] = deque(maxlen=1000)  # how long runs that were stopped took to stop; whoever reports them takes them out
        self._slots = asyncio.Semaphore(concurrency)
        self._threads = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="runner")
        self._batcher = Batcher(runner, batch, self._slot, self._in_thread) if isinstance(runner, BatchRunner) and batch > 1 else None

    async def produce(
        self, task: Task, encoding: Encoding, *, deadline: float | None = None, upstream: AsyncIterator[FrameEvent] | None = None
    ) -> AsyncGenerator[Event, None]:
        """Run `task` and encode its frames; with `upstream`, run it on the frames that arrive from there.

        Yields Progress and, last, one Result. Closing the generator stops the run within one step, and returns when it has stopped.
        """
        call = Call(deadline=deadline)
        if self._batcher is not None and upstream is None:
            async with aclosing(self._stream(call, lambda: asyncio.ensure_future(self._in_company(task, encoding, call)))) as batched:
                async for event in batched:
                    assert not isinstance(event, Frames), "frames leave through an outlet only"
                    yield event
            return
        inlet = None if upstream is None else Inlet(upstream, call)
        clock = _Clock()

        def work() -> Result:
            clock.start()
            media = encode(self._frames(task, call, inlet), encoding, call)
            media = self._sealed(media, content_type(encoding.format), call, inlet)
            ours = Finished(call.facts, clock.elapsed() - (inlet.waited_s if inlet else 0.0), call.seconds, self.card, call.steps)
            return Result(media, content_type(encoding.format), (ours,))

        async with self._slot(), aclosing(self._stream(call, lambda: self._in_thread(work), inlet=inlet)) as events:
            async for event in events:
                assert not isinstance(event, Frames), "frames leave through an outlet only"
                if isinstance(event, Result) and inlet is not None and inlet.finished is not None:
                    event = Result(event.media, event.content_type, (*inlet.finished.chain(), *event.stages))
                yield event

    async def frames(
        self, task: Task, *, deadline: float | None = None, upstream: AsyncIterator[FrameEvent] | None = None
    ) -> AsyncGenerator[FrameEvent, None]:
        """Run `task` and yield its frames as they are made: a part of a chain that is not its last. Ends with one Finished."""
        call = Call(deadline=deadline)
        inlet = None if upstream is None else Inlet(upstream, call)
        outlet = Outlet(call)
        clock = _Clock()

        def work() -> Finished:
            clock.start()
            for frames in self._frames(task, call, inlet):
                outlet.put(frames)
            busy_s = clock.elapsed() - outlet.waited_s - (inlet.waited_s if inlet else 0.0)
            before = inlet.finished.chain() if inlet and inlet.finished else ()
            return Finished(call.facts, busy_s, call.seconds, self.card, call.steps, before=before)

        async with self._slot(), aclosing(self._stream(call, lambda: self._in_thread(work), inlet=inlet, outlet=outlet)) as events:
            async for event in events:
                yield event

    def _sealed(self, media: bytes, kind: str, call: Call, inlet: Inlet | None) -> bytes:
        """The media, signed when this run or one before it swapped a face. Fact: "provenance", what signed."""
        before = inlet.finished.chain() if inlet and inlet.finished else ()
        swapped = next((facts for facts in (call.facts, *(run.facts for run in before)) if facts.get("faces_swapped")), None)
        if self._sealer is None or swapped is None:
            return media
        call.facts["provenance"] = self._sealer.name
        return self._sealer.seal(media, kind, swapped)

    def _frames(self, task: Task, call: Call, inlet: Inlet | None) -> Iterator[Frames]:
        if inlet is None:
            return self.runner.run(task, call)
        if not isinstance(self.runner, FrameRunner):
            raise NotConfigured(f"{type(self.runner).__name__} cannot work on frames from another model, so it cannot end a chain")
        return self.runner.transform(task, iter(inlet), call)

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None, None]:
        async with self._slots:
            self.running += 1
            try:
                yield
            finally:
                self.running -= 1

    def _counted(self, report: Callable[[Progress], None]) -> Callable[[Progress], None]:
        def count(progress: Progress) -> None:
            self.steps[progress.stage] += 1
            report(progress)

        return count

    async def _in_company(self, task: Task, encoding: Encoding, call: Call) -> Result:
        """One picture through the batcher; the card's seconds are charged by equal parts to those that shared them."""
        assert self._batcher is not None
        frames = await self._batcher.run(task, call)
        busy_s = sum(call.seconds.values()) / int(call.facts["batch"])
        media = await asyncio.to_thread(encode, iter([frames]), encoding, call)  # the card is for the next batch meanwhile
        return Result(media, content_type(encoding.format), (Finished(call.facts, busy_s, call.seconds, self.card, call.steps),))

    def _in_thread(self, work: Callable[[], Last]) -> "asyncio.Future[Last]":
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _stream(
        self, call: Call, begin: "Callable[[], asyncio.Future[Last]]", *, inlet: Inlet | None = None, outlet: Outlet | None = None
    ) -> AsyncGenerator[Progress | Frames | Last, None]:
        """Yield what the work reports, then what it returns. Leaves only when it has stopped."""
        loop = asyncio.get_running_loop()
        items: asyncio.Queue[Progress | Frames | None] = asyncio.Queue()

        def post(item: Progress | Frames | None) -> None:
            loop.call_soon_threadsafe(items.put_nowait, item)

        call.on_progress = self._counted(_throttled(post))
        if outlet is not None:
            outlet.connect(post)
        pump = None if inlet is None else asyncio.create_task(inlet.pump(post))
        running = begin()
        running.add_done_callback(lambda _: items.put_nowait(None))
        try:
            while (item := await items.get()) is not None:
                yield item
                if outlet is not None and isinstance(item, Frames):
                    outlet.taken()
            yield running.result()
        finally:
            stopped = None if running.done() else time.perf_counter()
            call.cancel()
            if pump is not None:
                await stop(pump)
            if isinstance(running, asyncio.Task):
                await stop(running)
            else:
                await asyncio.wait({running})  # a thread cannot be cancelled; it stops at its next check
                if not running.cancelled():
                    running.exception()  # raised above, or nobody is left to hear it
            if stopped is not None:
                self.stops_s.append(time.perf_counter() - stopped)

    def close(self) -> None:
        """Free the runner; no call may be running."""
        self._threads.shutdown(wait=True)
        self.runner.close()


def _throttled(post: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Pass on what is due: each message costs the machine a few milliseconds, so a job that is over at once sends none."""
    last = time.monotonic()

    def report(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if progress.picture is not None or now - last >= PROGRESS_EVERY_S:
            last = now
            post(progress)

    return report
