"""Calls that leave the cluster: each behind its pool's circuit breaker, and with money set aside that is settled however it ends."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from modal_burst.faults import kind_of
from models.errors import FaultKind
from serve.background import Background
from serve.breaker import Breaker, BreakerRules
from serve.budget import BEAT_S, Budget, Refusal, Reservation
from serve.overflow import Reason

log = logging.getLogger("ryla.burst")


@dataclass(slots=True)
class Outcome:
    """How a call ended. kind: None when it ended well; until that is known, as if its caller had left."""

    kind: FaultKind | None = FaultKind.CANCELLED


class Outgoing:
    """What bursts and fallbacks share. A pool is what a breaker, leases and estimates are kept by. out: calls that are out, by pool."""

    def __init__(self, budget: Budget, rules: BreakerRules | None = None) -> None:
        self.budget = budget
        self.rules = rules
        self.out: Counter[str] = Counter()
        self._breakers: dict[str, Breaker] = {}
        self._background = Background()
        self._beating: asyncio.Task[None] | None = None

    def breaker(self, pool: str) -> Breaker:
        """The circuit breaker of a pool."""
        if pool not in self._breakers:
            self._breakers[pool] = Breaker(pool, self.rules)
        return self._breakers[pool]

    def refusal(self, tenant: str, pool: str, usd: float) -> Refusal | None:
        """Why a call cannot go out now, as far as is known without asking the database."""
        closed_for_s = self.breaker(pool).refuses_for(time.monotonic())
        return self.budget.refusal(tenant, usd) if closed_for_s is None else Refusal(Reason.BREAKER, closed_for_s)

    async def reserve(self, tenant: str, pool: str, usd: float, *, strays: int = 0) -> Reservation | Refusal:
        """Money and a lease for a call, which is out from now on: for the breaker, and in `out`. strays: as in `Budget.reserve`."""
        asking = asyncio.create_task(self.budget.reserve(tenant, pool, usd, strays=strays))
        self._sent(pool)
        try:
            answer = await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._back(pool, FaultKind.CANCELLED)
            self._background.start(self._return(asking))
            raise
        if isinstance(answer, Refusal):
            self._back(pool, FaultKind.CANCELLED)
        return answer

    async def give_up(self, pool: str, money: Reservation) -> None:
        """Return what was reserved for a call that is not sent after all; nothing once it was sent."""
        if not money.settled:
            self._back(pool, FaultKind.CANCELLED)
            await self.budget.settle(money, 0.0)

    @contextmanager
    def judged(self, pool: str) -> Generator[Outcome]:
        """Around a call that is out: its end is told to the breaker, and to who reads the outcome afterwards."""
        outcome, retry_after_s = Outcome(), None
        try:
            yield outcome
            outcome.kind = None
        except Exception as error:
            outcome.kind, retry_after_s = kind_of(error), getattr(error, "retry_after_s", None)
            raise
        finally:
            self._back(pool, outcome.kind, retry_after_s)

    async def settle(self, money: Reservation, usd: float) -> None:
        """Settle a call; what cannot be settled stays set aside."""
        try:
            await self.budget.settle(money, usd)
        except Exception:
            log.exception("a call that left the cluster could not be settled; %.6f USD stay set aside for it", money.usd)

    async def see_through(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` to its end, also when the caller does not wait for it any more."""
        await asyncio.shield(self._background.start(work))

    async def close(self) -> None:
        """Return once everything is settled."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        await self._background.ended()

    def _sent(self, pool: str) -> None:
        self.breaker(pool).sent(time.monotonic())
        self.out[pool] += 1
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat())

    def _back(self, pool: str, kind: FaultKind | None, retry_after_s: float | None = None) -> None:
        self.out[pool] -= 1
        self.breaker(pool).ended(kind, time.monotonic(), retry_after_s)

    async def _return(self, asking: "asyncio.Task[Reservation | Refusal]") -> None:
        """The caller has gone before it was given its money."""
        answer = await asking
        if isinstance(answer, Reservation):
            await self.budget.settle(answer, 0.0)

    async def _beat(self) -> None:
        """Keep the leases of calls that are out."""
        while self.out.total():
            try:
                await self.budget.beat()
            except Exception:
                log.exception("the leases of calls that are out could not be renewed")
            await asyncio.sleep(BEAT_S)
