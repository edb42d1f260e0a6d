"""Fallbacks: what runs a call outside when the cluster is late and its mirror cannot help, under the same budgets and breakers as bursts.

`serve/outside.py` says which call may go where.
"""

import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from deployments.spec.endpoint import Endpoint, Plan
from deployments.spec.fallback import ComfyWorkflow, FalModel
from models.errors import BackendFailed, DeadlineExceeded, FaultKind
from models.host import Event, Result
from serve.breaker import BreakerRules
from serve.budget import Budget, Refusal, Reservation
from serve.estimator import Learned
from serve.outgoing import Outcome, Outgoing
from serve.outside import Outside, place
from serve.overflow import Offer, Route

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
        self.outgoing = Outgoing(budget, rules)
        self.longest_s = longest_s
        self._backends = backends
        self._takes: dict[str, Learned] = {}

    def of(self, endpoint: Endpoint, plan: Plan, tenant: str, outside: Outside) -> "Fallback | None":
        """The fallback of one call; None when it has none, or none that is set up."""
        what = place(endpoint, plan, outside)
        backend = self._backends.get(FAL if isinstance(what, FalModel) else COMFYUI)
        return None if what is None or backend is None else Fallback(self, backend, backend.work(plan, what), plan, tenant)

    def has(self, backend: str) -> bool:
        """Whether a backend is set up."""
        return backend in self._backends

    def takes(self, work: Work) -> Learned:
        """Seconds that work of this kind takes."""
        if work.pool not in self._takes:
            self._takes[work.pool] = Learned(work.expected_s)
        return self._takes[work.pool]

    async def close(self) -> None:
        """Return once everything is settled."""
        await self.outgoing.close()


class Fallback:
    """Where one call may go instead."""

    def __init__(self, owner: Fallbacks, backend: Runs, work: Work, plan: Plan, tenant: str) -> None:
        self._owner = owner
        self._outgoing = owner.outgoing
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
        refusal = self._outgoing.refusal(self._tenant, self._work.pool, self._work.usd)
        takes = self._owner.takes(self._work)
        return Offer(Route.FALLBACK, takes.median, self._work.usd, refusal and refusal.reason, refusal and refusal.for_s, takes.sure)

    async def reserve(self) -> Reservation | Refusal:
        """Take the offer up: money and a lease, which `run` settles."""
        return await self._outgoing.reserve(self._tenant, self._work.pool, self._work.usd)

    async def give_up(self, money: Reservation) -> None:
        """Return what was reserved for a call that is not sent after all; nothing once it was sent."""
        await self._outgoing.give_up(self._work.pool, money)

    async def run(self, money: Reservation, *, deadline: float | None) -> AsyncGenerator[Event, None]:
        """Run the call. Whatever happens, the money is settled and the breaker told."""
        tally, began, results, outcome = Tally(), time.monotonic(), list[Result](), Outcome()
        longest = time.time() + self._owner.longest_s
        ends = longest if deadline is None else min(deadline, longest)
        try:
            with self._outgoing.judged(self._work.pool) as outcome:
                async with aclosing(self._backend.run(self._plan, self._work, deadline=ends, tally=tally)) as events:
                    async for event in events:
                        if isinstance(event, Result):
                            results.append(event)  # held back until the call is over and told of
                        else:
                            yield event
        except DeadlineExceeded as error:
            if ends == longest:
                told = f"{self.name} took longer than the {self._owner.longest_s:g} s that it is given"
                raise BackendFailed(told, None, FaultKind.DEADLINE) from error
            raise
        finally:
            seconds, how = time.monotonic() - began, outcome.kind or "done"
            log.info("fallback to %s: %s after %.2f s, %.6f USD", self._work.pool, how, seconds, tally.usd)
            await self._outgoing.see_through(self._outgoing.settle(money, tally.usd))
        self._owner.takes(self._work).observe(time.monotonic() - began)
        for result in results:
            yield result
