"""Stopping a task for certain."""

import asyncio
from typing import Any

AGAIN_S = 0.2


async def stop(task: "asyncio.Task[Any] | asyncio.Future[Any]") -> None:
    """Cancel `task` and return when it has ended, however it ended.

    Ray swallows a cancellation that arrives while it sets a call up, so one request to stop is not enough.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=AGAIN_S)
    if not task.cancelled():
        task.exception()  # nobody is left to hear it
