"""Bursts: what the mirror can promise a call, and calls that run there inside their budget.

A call goes out with money set aside for what one in twenty exceeds; one that takes longer gets more, or is taken back before it has
cost more than that.
"""

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Protocol

from deployments.spec.endpoint import Plan
from modal_burst.backend import BurstBackend, Report
from modal_burst.mirror import with_pulse
from modal_burst.pools import Pool, pool
from models.errors import BackendFailed, FaultKind, NotConfigured
from models.host import Event, Result
from serve.breaker import BreakerRules
from serve.budget import Budget, Refusal, Reservation
from serve.estimator import HERE, THERE, Estimator
from serve.outgoing import Outcome, Outgoing
from serve.overflow import Offer, Reason, Route
from serve.pool_watch import PoolWatch
from serve.prices import Prices, report_of_half

log = logging.getLogger("ryla.burst")

CONNECT_S: Final = 5.0
STOP_S: Final = 3.0  # a call is taken back this long before its money runs out


class Mirror(BurstBackend, Protocol):
    """The mirror and the line to it."""

    async def start(self) -> None:
        """Begin to connect."""
        ...

    async def settled(self, timeout_s: float) -> bool:
        """Wait until a first try to connect has ended; say whether there is a connection."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class SecondHalves(Protocol):
    """Runs chains here whose first half runs on the mirror."""

    def run(self, plan: Plan, *, deadline: float | None, first: str) -> AsyncGenerator[Event, None]:
        """Run the second stage on frames that the mirror makes."""
        ...


class Bursts:
    """The mirror, as the dispatcher sees it."""

    def __init__(
        self,
        mirror: Mirror,
        halves: SecondHalves,
        budget: Budget,
        estimator: Estimator,
        prices: Prices,
        *,
        max_containers: int,
        rules: BreakerRules | None = None,
    ) -> None:
        self.budget = budget
        self.outgoing = Outgoing(budget, rules)
        self._mirror = mirror
        self._halves = halves
        self._estimator = estimator
        self._prices = prices
        self._watch = PoolWatch(mirror, self.outgoing, max_containers)
        self._awake = False

    async def wake(self, *, wait: bool) -> None:
        """Connect at the first call, in the background; with `wait`, a connection that is being made is waited for."""
        if not self._awake:
            self._awake = True
            await self._mirror.start()
        if wait:
            await self._mirror.settled(CONNECT_S)

    def offers(self, plan: Plan, tenant: str, *, second_here_s: float) -> list[Offer]:
        """The ways to burst. second_here_s: until the plan's last stage would be done here, had its first stage no part in it."""
        found: list[Offer] = []
        for route in (Route.WHOLE, Route.PART) if len(plan.stages) > 1 else (Route.WHOLE,):
            try:
                of = _pool(plan, route)
            except NotConfigured:
                continue
            done_s, usd = self._cost(plan, route, of)
            refusal = self._refusal(of, tenant, usd)
            done_s = max(done_s, second_here_s) if route is Route.PART else done_s
            found.append(Offer(route, done_s, usd, refusal and refusal.reason, refusal and refusal.for_s))
        return found

    async def reserve(self, plan: Plan, tenant: str, offer: Offer) -> Reservation | Refusal:
        """Take an offer up: money and a lease, which `run` settles."""
        of = _pool(plan, offer.route)
        self._watch.follow(of)
        return await self.outgoing.reserve(tenant, of.key, offer.usd, strays=self._watch.strays())

    async def give_up(self, plan: Plan, route: Route, money: Reservation) -> None:
        """Return what was reserved for a call that is not sent after all; nothing once it was sent."""
        await self.outgoing.give_up(_pool(plan, route).key, money)

    async def run(self, plan: Plan, route: Route, money: Reservation, *, deadline: float | None) -> AsyncGenerator[Event, None]:
        """Run a plan as `route` says, inside its budget. Whatever happens, the money is settled and the breaker told."""
        of = _pool(plan, route)
        began, told, results, outcome = time.monotonic(), list[Report](), list[Result](), Outcome()
        source = (
            self._mirror.run(plan, deadline=deadline, observe=told.append)
            if route is Route.WHOLE
            else self._halves.run(plan, deadline=deadline, first=THERE)
        )
        try:
            with self.outgoing.judged(of.key) as outcome:
                async with aclosing(source), aclosing(self._inside(source, of, money)) as events:
                    async for event in events:
                        if isinstance(event, Result):
                            results.append(event)  # held back until the call is over and told of
                        else:
                            yield event
        finally:
            report = told[0] if told else report_of_half(of, outcome.kind, time.monotonic() - began, results)
            await self.outgoing.see_through(self._settle(money, report))
        for result in results:
            places = [THERE if index == 0 or route is Route.WHOLE else HERE for index in range(len(plan.stages))]
            self._estimator.learn(plan, places, result.stages)
            yield result

    async def close(self) -> None:
        """Hang up, once what is being settled is settled."""
        await self._watch.close()
        await self.outgoing.close()
        await self._mirror.close()

    async def _inside(self, source: AsyncGenerator[Event, None], of: Pool, money: Reservation) -> AsyncGenerator[Event, None]:
        """The events of a run, for as long as there is money for it."""
        rate, began = self._rate(of), time.monotonic()
        step_usd = max(money.usd / 2, 10.0 * rate)
        async with aclosing(with_pulse(source, STOP_S / 3)) as events:
            async for event in events:
                if event is not None:
                    yield event
                covered_s = money.usd / rate - self._prices.idle_s - STOP_S
                if time.monotonic() - began > covered_s and not await self.budget.extend(money, step_usd):
                    raise BackendFailed("the budget for work outside the cluster ran out under the call", None, FaultKind.CANCELLED)

    async def _settle(self, money: Reservation, report: Report) -> None:
        cold = self._estimator.cold_start(report.pool.deployments)
        if report.cold and report.opened_s is not None:
            cold.observe(report.opened_s)
        usd = self._prices.paid_s(report, cold.median) * self._rate(report.pool)
        await self.outgoing.settle(money, usd)
        log.info("burst to %s settled at %.6f USD (%s)", report.pool.key, usd, report.kind or "done")

    def _cost(self, plan: Plan, route: Route, of: Pool) -> tuple[float, float]:
        """Seconds until the part that runs there is done, and the USD to set aside for it."""
        stages = 1 if route is Route.PART else len(plan.stages)
        expected_s = max(self._estimator.stages(plan, THERE)[:stages])
        longest_s = sum(self._estimator.stages(plan, THERE, high=True)[:stages])
        cold = self._estimator.cold_start(of.deployments)
        open_s = self._watch.open_s(of, expected_s)
        paid_s = cold.high + longest_s + self._prices.idle_s + STOP_S
        return (cold.median if open_s is None else open_s) + expected_s, paid_s * self._rate(of)

    def _refusal(self, of: Pool, tenant: str, usd: float) -> Refusal | None:
        fault = self._mirror.fault
        if fault is not None:
            return Refusal(Reason.UNREACHABLE, getattr(fault, "retry_after_s", None))
        return self.outgoing.refusal(tenant, of.key, usd)

    def _rate(self, of: Pool) -> float:
        return self._prices.rates.get(of.gpu, max(self._prices.rates.values()))


def _pool(plan: Plan, route: Route) -> Pool:
    stages = plan.stages[:1] if route is Route.PART else plan.stages
    return pool(tuple(stage.deployment for stage in stages))
