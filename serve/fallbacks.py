"""Fallbacks: what runs a call outside when the cluster is late and its mirror cannot help, under the same budgets and breakers as bursts.

`serve/outside.py` says which call may go where.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from deployments.spec.endpoint import Endpoint, Plan
from deployments.spec.fallback import ComfyWorkflow, FalModel
from modal_burst.faults import kind_of
from models.errors import BackendFailed, DeadlineExceeded, FaultKind
from models.host import Event, Result
from serve.background import Background
from serve.breaker import Breaker, BreakerRules
from serve.budget import BEAT_S, Budget, Refusal, Reservation
from serve.estimator import Learned
from serve.outside import Outside, place
from serve.overflow import Offer, Reason, Route

log = logging.getLogger("ryla.burst")

FAL, COMFYUI = "fal", "comfyui"


@dataclass(slots=True)
class Tally:
    """What a call may have cost so far, in USD."""

    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Work:
    """What a call would be there. pool: what its breaker and its estimates are kept by. usd: the most it may cost."""

    backend: str
    pool: str
    expected_s: float
    usd: float
    what: FalModel | ComfyWorkflow


class Runs(Protocol):
    """A backend outside: knows what a call would cost there, and runs it."""

    def work(self, plan: Plan, what: Any) -> Work:
        """What `plan` would be there."""
        ...

    def run(self, plan: Plan, work: Work, *, deadline: float, tally: Tally) -> AsyncGenerator[Event, None]:
        """Run it, yielding Progress and, last, one Result; `tally` is kept true at all times. Closing the generator cancels the run.

        Raises BackendFailed, DeadlineExceeded, or Refused.
        """
        ...


class Fallbacks:
    """The backends that are set up, and what is known of them."""

    def __init__(self, backends: Mapping[str, Runs], budget: Budget, *, longest_s: float, rules: BreakerRules | None = None) -> None:
        self.budget = budget
        self.longest_s = longest_s
        self.background = Background()
        self._backends = backends
        self._rules = rules
        self._breakers: dict[str, Breaker] = {}
        self._takes: dict[str, Learned] = {}
        self._out = 0
        self._beating: asyncio.Task[None] | None = None

    def of(self, endpoint: Endpoint, plan: Plan, tenant: str, outside: Outside) -> "Fallback | None":
        """The fallback of one call; None when it has none, or none that is set up."""
        what = place(endpoint, plan, outside)
        backend = self._backends.get(FAL if isinstance(what, FalModel) else COMFYUI)
        return None if what is None or backend is None else Fallback(self, backend, backend.work(plan, what), plan, tenant)

    def has(self, backend: str) -> bool:
        """Whether a backend is set up."""
        return backend in self._backends

    def breaker(self, pool: str) -> Breaker:
        """The circuit breaker of a pool."""
        if pool not in self._breakers:
            self._breakers[pool] = Breaker(pool, self._rules)
        return self._breakers[pool]

    def takes(self, work: Work) -> Learned:
        """Seconds that work of this kind takes."""
        if work.pool not in self._takes:
            self._takes[work.pool] = Learned(work.expected_s)
        return self._takes[work.pool]

    def sent(self, pool: str) -> None:
        """A call goes out."""
        self.breaker(pool).sent(time.monotonic())
        self._out += 1
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat())

    def back(self, pool: str, kind: FaultKind | None, retry_after_s: float | None = None) -> None:
        """A call has ended, or was not sent after all."""
        self._out -= 1
        self.breaker(pool).ended(kind, time.monotonic(), retry_after_s)

    async def close(self) -> None:
        """Return once everything is settled."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        await self.background.ended()

    async def _beat(self) -> None:
        """Keep the leases of calls that are out."""
        while self._out:
            try:
                await self.budget.beat()
            except Exception:
                log.exception("the leases of calls that are out could not be renewed")
            await asyncio.sleep(BEAT_S)


class Fallback:
    """Where one call may go instead."""

    def __init__(self, owner: Fallbacks, backend: Runs, work: Work, plan: Plan, tenant: str) -> None:
        self._owner = owner
        self._backend = backend
        self._work = work
        self._plan = plan
        self._tenant = tenant

    @property
    def name(self) -> str:
        """The backend's name."""
        return self._work.backend

    def offer(self) -> Offer:
        """What it promises now."""
        refusal = self._refusal()
        takes = self._owner.takes(self._work)
        return Offer(Route.FALLBACK, takes.median, self._work.usd, refusal and refusal.reason, refusal and refusal.for_s, takes.sure)

    async def reserve(self) -> Reservation | Refusal:
        """Take the offer up: money and a lease, which `run` settles."""
        asking = asyncio.create_task(self._owner.budget.reserve(self._tenant, self._work.pool, self._work.usd))
        self._owner.sent(self._work.pool)
        try:
            answer = await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._owner.back(self._work.pool, FaultKind.CANCELLED)
            self._owner.background.start(self._return(asking))
            raise
        if isinstance(answer, Refusal):
            self._owner.back(self._work.pool, FaultKind.CANCELLED)
        return answer

    async def give_up(self, money: Reservation) -> None:
        """Return what was reserved for a call that is not sent after all; nothing once it was sent."""
        if not money.settled:
            self._owner.back(self._work.pool, FaultKind.CANCELLED)
            await self._owner.budget.settle(money, 0.0)

    async def run(self, money: Reservation, *, deadline: float | None) -> AsyncGenerator[Event, None]:
        """Run the call. Whatever happens, the money is settled and the breaker told."""
        tally, began, results = Tally(), time.monotonic(), list[Result]()
        kind: FaultKind | None = FaultKind.CANCELLED
        retry_after_s: float | None = None
        longest = time.time() + self._owner.longest_s
        ends = longest if deadline is None else min(deadline, longest)
        try:
            async with aclosing(self._backend.run(self._plan, self._work, deadline=ends, tally=tally)) as events:
                async for event in events:
                    if isinstance(event, Result):
                        results.append(event)  # held back until the call is over and told of
                    else:
                        yield event
            kind = None
        except Exception as error:
            kind, retry_after_s = kind_of(error), getattr(error, "retry_after_s", None)
            if isinstance(error, DeadlineExceeded) and ends == longest:
                told = f"{self.name} took longer than the {self._owner.longest_s:g} s that it is given"
                raise BackendFailed(told, None, FaultKind.DEADLINE) from error
            raise
        finally:
            self._owner.back(self._work.pool, kind, retry_after_s)
            log.info("fallback to %s: %s after %.2f s, %.6f USD", self._work.pool, kind or "done", time.monotonic() - began, tally.usd)
            await asyncio.shield(self._owner.background.start(self._settle(money, tally.usd)))
        self._owner.takes(self._work).observe(time.monotonic() - began)
        for result in results:
            yield result

    def _refusal(self) -> Refusal | None:
        closed_for_s = self._owner.breaker(self._work.pool).refuses_for(time.monotonic())
        if closed_for_s is not None:
            return Refusal(Reason.BREAKER, closed_for_s)
        return self._owner.budget.refusal(self._tenant, self._work.usd)

    async def _settle(self, money: Reservation, usd: float) -> None:
        try:
            await self._owner.budget.settle(money, usd)
        except Exception:
            log.exception("a fallback could not be settled; %.6f USD stay set aside for it", money.usd)

    async def _return(self, asking: "asyncio.Task[Reservation | Refusal]") -> None:
        """The caller has gone before it was given its money."""
        answer = await asking
        if isinstance(answer, Reservation):
            await self._owner.budget.settle(answer, 0.0)
