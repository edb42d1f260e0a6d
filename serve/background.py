"""Tasks that go on though nobody waits for them."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """Holds tasks until they end: the event loop itself keeps only a weak reference."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Begin `work`; whoever wants its outcome awaits the task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def ended(self) -> None:
        """Return once everything that was begun so far has ended, well or not."""
        if self._tasks:
            await asyncio.wait(self._tasks)
