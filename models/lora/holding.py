"""Holds a task's LoRAs while its call is on the replica, for async callers."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from models.lora.stack import LoraStack
from models.runner import Fact
from models.task import LoraUse, Task, TextToImage, TextToVideo


def loras_of(task: Task) -> tuple[LoraUse, ...]:
    """The LoRAs that `task` asks for."""
    return task.loras if isinstance(task, TextToImage | TextToVideo) else ()


@asynccontextmanager
async def held(stack: LoraStack | None, task: Task) -> AsyncGenerator[dict[str, Fact]]:
    """Inside, the task's LoRAs are in memory and stay, fetched in a thread while the GPU works on; yields what the reply says of them.

    Raises what loading raises. A caller that is cancelled meanwhile leaves the load to its end, and nothing held.
    """
    loras = loras_of(task)
    if stack is None or not loras:
        yield {}
        return
    holding = stack.hold(loras)
    entering = asyncio.ensure_future(asyncio.to_thread(holding.__enter__))
    try:
        tier = await asyncio.shield(entering)
    except asyncio.CancelledError:
        entering.add_done_callback(lambda done: None if done.exception() else holding.__exit__(None, None, None) and None)
        raise
    try:
        yield {"lora_tier": tier or ""}
    finally:
        holding.__exit__(None, None, None)
