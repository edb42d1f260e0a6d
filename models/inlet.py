"""The two ends of a stream of frames between a runner's thread and an event loop, each with a bound on how far it may run ahead."""

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

from models.runner import Call, Finished, FrameEvent, Frames, Progress

FRAMES_AHEAD = 2  # chunks a producer may be ahead of its consumer, on each side of a chain
CHECK_EVERY_S = 0.1  # a thread that waits for frames looks this often whether it must stop


class Inlet:
    """Frames that arrive on the event loop, read by a runner's thread."""

    def __init__(self, upstream: AsyncIterator[FrameEvent], call: Call) -> None:
        self.finished: Finished | None = None
        self.waited_s = 0.0
        self._upstream = upstream
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(FRAMES_AHEAD)
        self._frames: queue.SimpleQueue[Frames | BaseException | None] = queue.SimpleQueue()

    async def pump(self, post: Callable[[Progress], None]) -> None:
        """Move frames to the thread and pass progress on, until the upstream ends. Its error is raised in the thread."""
        try:
            async for event in self._upstream:
                if isinstance(event, Frames):
                    await self._room.acquire()
                    self._frames.put(event)
                elif isinstance(event, Progress):
                    post(event)
                else:
                    self.finished = event
            self._frames.put(None)
        except BaseException as error:
            self._frames.put(error)
            if isinstance(error, asyncio.CancelledError):
                raise

    def __iter__(self) -> Iterator[Frames]:
        while True:
            started = time.perf_counter()
            item = self._next()
            self.waited_s += time.perf_counter() - started
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            self._loop.call_soon_threadsafe(self._room.release)
            yield item

    def _next(self) -> Frames | BaseException | None:
        while True:
            try:
                return self._frames.get(timeout=CHECK_EVERY_S)
            except queue.Empty:
                self._call.check()


class Outlet:
    """Frames that a runner's thread makes, read on the event loop."""

    def __init__(self, call: Call) -> None:
        self.waited_s = 0.0
        self._call = call
        self._room = threading.Semaphore(FRAMES_AHEAD)
        self._post: Callable[[Frames], None] | None = None

    def connect(self, post: Callable[[Frames], None]) -> None:
        """Say where frames go; called before the thread starts."""
        self._post = post

    def put(self, frames: Frames) -> None:
        """Hand over `frames` from the thread, waiting while the reader is too far behind."""
        assert self._post is not None
        started = time.perf_counter()
        while not self._room.acquire(timeout=CHECK_EVERY_S):
            self._call.check()
        self.waited_s += time.perf_counter() - started
        self._post(frames)

    def taken(self) -> None:
        """The reader has taken one."""
        self._room.release()
