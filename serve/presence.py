"""Whether the client is still there: a call whose client has left is stopped, and its GPU with it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from models.errors import Cancelled
from models.stopping import stop
from serve.background import Background

Answer = TypeVar("Answer")


async def while_present(http: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
    """The outcome of `work`, which is stopped when the client of `http` leaves first. The body must have been read. Raises Cancelled."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_departure(http))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Cancelled("the client went away")
    finally:
        leaving.cancel()
        if not working.done():
            _background.start(stop(working))


_background = Background()


async def _departure(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
