"""One call of the mirror: every wait has a bound, and a call that nobody waits for any more is cancelled where it runs."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import modal

from modal_burst.faults import translated, unpack_error
from modal_burst.line import Session
from modal_burst.waits import give_up, within
from models.errors import BackendFailed, DeadlineExceeded, FaultKind

log = logging.getLogger("ryla.burst")
Item: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long to wait: until a container opens the call (start_s), between items (silence_s), for a cancellation (request_s).

    deadline: of everything, on `time.time()`'s clock.
    """

    deadline: float
    start_s: float
    silence_s: float
    request_s: float


@dataclass(slots=True)
class Opening:
    """Who runs the call. earlier_calls: how many the container ran before; 0 after a cold start. after_s: since it was sent.

    idle_s: how long the container had nothing to do before.
    """

    call: str
    container: str
    earlier_calls: int
    after_s: float
    idle_s: float


class RemoteCall:
    """A call that is out. `items` sends it; closing that hangs up."""

    def __init__(
        self, session: Session, method: Any, payload: Item, bounds: Bounds, background: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self.opening: Opening | None = None
        self._session = session
        self._method = method
        self._payload = payload
        self._bounds = bounds
        self._background = background
        self._sent = time.monotonic()
        self._heard: asyncio.Queue[Any] = asyncio.Queue()  # items, the error it ended with, or None at its end
        self._opened = asyncio.Event()

    async def items(self) -> AsyncGenerator[Item, None]:
        """What the mirror says after it has opened the call, up to "done".

        Raises the error that the call ends with, or DeadlineExceeded or BackendFailed.
        """
        pump = asyncio.create_task(self._pump())
        over = False
        try:
            with self._session.call():
                while not over:
                    item = await self._next()
                    if "error" in item:
                        over = True
                        raise unpack_error(item["error"])
                    over = "done" in item
                    if "opened" not in item and "pulse" not in item:
                        yield item
        except BackendFailed as error:
            if error.kind is FaultKind.CONFIG:
                self._session.stale.set()  # so that the line looks anew at what is deployed
            raise
        finally:
            self._background(self._let_go(pump) if over else self._hang_up(pump))

    async def _pump(self) -> None:
        """Bring items over from the client library, which cannot be interrupted safely in the middle of one."""
        try:
            async with aclosing(cast(AsyncGenerator[Any, None], self._method.remote_gen.aio(self._payload))) as items:
                async for item in items:
                    if isinstance(item, dict) and "opened" in item:
                        self._open(cast(Item, item)["opened"])
                    self._heard.put_nowait(item)
            self._heard.put_nowait(None)
        except BaseException as error:
            self._heard.put_nowait(error)
            if isinstance(error, asyncio.CancelledError):
                raise

    async def _next(self) -> Item:
        heard = asyncio.ensure_future(self._heard.get())
        dead = asyncio.ensure_future(self._session.dead.wait())
        bound = self._bounds.silence_s if self._opened.is_set() else self._bounds.start_s - (time.monotonic() - self._sent)
        left = self._bounds.deadline - time.time()
        try:
            await asyncio.wait([heard, dead], timeout=max(0.0, min(bound, left)), return_when=asyncio.FIRST_COMPLETED)
            if heard.done():
                return _item(heard.result())
            if dead.done():
                raise self._session.lost()
            if left <= bound:
                raise DeadlineExceeded("the deadline passed while the mirror was working; ask for less work or a later deadline")
            what = "said nothing" if self._opened.is_set() else "gave the call no container"
            raise BackendFailed(f"the mirror {what} for {bound:.0f} s", None, FaultKind.INFRA)
        finally:
            heard.cancel()
            dead.cancel()

    def _open(self, who: Item) -> None:
        after_s, idle_s = time.monotonic() - self._sent, float(who.get("idle_s", 0.0))
        self.opening = Opening(str(who["call"]), str(who["container"]), int(who["earlier_calls"]), after_s, idle_s)
        self._opened.set()

    async def _let_go(self, pump: "asyncio.Task[None]") -> None:
        """The call is over; leave the client library time to notice."""
        await asyncio.wait([pump], timeout=self._bounds.request_s)
        give_up(pump)

    async def _hang_up(self, pump: "asyncio.Task[None]") -> None:
        """Cancel the call. The platform cannot cancel one that waits for a container, so wait until it is opened."""
        dead = self._session.dead
        try:
            with self._session.call():
                await within(self._bounds.deadline - time.time() + self._bounds.request_s, _either(self._opened, dead, pump))
                if self.opening is not None and not dead.is_set() and not pump.done():
                    cancelling = modal.FunctionCall.from_id(self.opening.call, client=self._session.client).cancel.aio()
                    await within(self._bounds.request_s, cancelling)
                    await asyncio.wait([pump], timeout=self._bounds.request_s)
        except Exception:
            log.debug("a call could not be cancelled; it ends at its deadline, which the mirror knows too", exc_info=True)
        finally:
            give_up(pump)


async def _either(opened: asyncio.Event, dead: asyncio.Event, pump: "asyncio.Task[None]") -> None:
    waits = [asyncio.ensure_future(opened.wait()), asyncio.ensure_future(dead.wait())]
    try:
        await asyncio.wait([*waits, pump], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _item(heard: Any) -> Item:
    if heard is None:
        raise BackendFailed("the mirror's answer ended before it was done", None, FaultKind.INFRA)
    if isinstance(heard, BaseException):
        raise translated(heard) from heard
    if not isinstance(heard, Mapping):
        raise BackendFailed("the mirror answers in a form that is not known here", None, FaultKind.CONFIG)
    return cast(Item, heard)
