"""Gathers tasks into batches while they wait for the GPU: nobody waits for company longer than a few milliseconds when it is idle."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from models.errors import RylaError
from models.runner import BatchRunner, Call, Frames
from models.task import Task

GATHER_S = 0.005  # company that comes together usually comes within this


@dataclass(slots=True, eq=False)
class _Waiting:
    task: Task
    call: Call
    key: Hashable
    outcome: "asyncio.Future[Frames]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """Runs tasks of one BatchRunner, those with equal `batch_key` together, oldest first, at most `limit` at once.

    slot: the right to use the GPU, held while a batch runs.
    in_thread: runs a function in the runner's thread.
    """

    def __init__(
        self,
        runner: BatchRunner,
        limit: int,
        slot: Callable[[], AbstractAsyncContextManager[None]],
        in_thread: Callable[[Callable[[], Sequence[Frames | RylaError]]], Awaitable[Sequence[Frames | RylaError]]],
    ) -> None:
        self._runner = runner
        self._limit = limit
        self._slot = slot
        self._in_thread = in_thread
        self._queue: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def run(self, task: Task, call: Call) -> Frames:
        """The picture of `task`, made alone or in company; `call.facts["batch"]` says how many shared the run.

        Cancelling takes a waiting task out of the queue, and stops one that runs at its next step.
        """
        waiting = _Waiting(task, call, self._runner.batch_key(task))
        self._queue.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            return await asyncio.shield(waiting.outcome)
        except asyncio.CancelledError:
            call.cancel()
            waiting.outcome.cancel()
            raise

    async def _work(self) -> None:
        await asyncio.sleep(GATHER_S if self._limit > 1 else 0)
        while self._queue:
            async with self._slot():
                batch = self._take()
                if batch:
                    await self._run(batch)

    def _take(self) -> list[_Waiting]:
        """The oldest waiting task and those that may run with it; tasks whose caller has left fall out."""
        alive = [waiting for waiting in self._queue if not waiting.outcome.done()]
        batch = [waiting for waiting in alive if waiting.key == alive[0].key][: self._limit]
        self._queue = deque(waiting for waiting in alive if waiting not in batch)
        return batch

    async def _run(self, batch: list[_Waiting]) -> None:
        for waiting in batch:
            waiting.call.facts["batch"] = len(batch)
        tasks, calls = [w.task for w in batch], [w.call for w in batch]
        try:
            outcomes: Sequence[Frames | Exception] = await self._in_thread(lambda: self._runner.run_batch(tasks, calls))
        except Exception as error:  # what befalls a batch befalls each of its tasks
            outcomes = [error] * len(batch)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if waiting.outcome.done():
                continue
            if isinstance(outcome, Exception):
                waiting.outcome.set_exception(outcome)
            else:
                waiting.outcome.set_result(outcome)
