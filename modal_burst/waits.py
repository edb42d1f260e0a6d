"""Waiting with a bound that holds even for work that does not heed its cancellation, as calls into the client library may not."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")
_left: "set[asyncio.Future[Any]]" = set()  # work that was given up and has not ended yet


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The result of `work`. Raises TimeoutError when it takes longer; it is cancelled then, and not waited for."""
    running = asyncio.ensure_future(work)
    try:
        await asyncio.wait([running], timeout=max(0.0, seconds))
        if running.done():
            return running.result()
        raise TimeoutError(f"no answer within {seconds:g} s")
    finally:
        give_up(running)


def give_up(work: "asyncio.Future[Any]") -> None:
    """Cancel work, if it has not ended, without waiting; how it ends no longer matters."""
    if not work.done():
        _left.add(work)
        work.add_done_callback(_ended)
        work.cancel()


def _ended(work: "asyncio.Future[Any]") -> None:
    _left.discard(work)
    if not work.cancelled():
        work.exception()
