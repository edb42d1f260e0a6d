"""A rig for tests of fallbacks: the real dispatcher, budget, breakers, backends and vendor's client; a cluster that can be made late."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deployments import deployments, endpoints
from deployments.spec.endpoint import Endpoint, Plan
from models.host import Result
from serve.breaker import BreakerRules, State
from serve.dispatch import Ask, Dispatcher
from serve.fallbacks import Fallbacks
from serve.fetch import Fetcher, is_public
from serve.jobs import Jobs
from serve.outside import Outside
from serve.overflow import Decision, Mode
from serve.placement import dispatcher, estimator_of, fallbacks
from serve.settings import Settings
from tests.deployments.bodies import body
from tests.serve.bursting import OneReplica

RATES = {"L40S": 0.01, "A100-80GB": 0.01}
BOUNDS = {"fallback_request_s": 1.0, "fallback_silence_s": 0.6, "fallback_s": 20.0}


async def to_loopback(host: str, port: int) -> list[str]:
    """Names of the tests are of this machine; no other name is known."""
    return ["127.0.0.1"] if host.endswith(".test") else [host]


def loopback_fetcher() -> Fetcher:
    return Fetcher(seconds=1.5, resolve=to_loopback, allowed=lambda address: address == "127.0.0.1" or is_public(address))


def endpoint_with(wanted: Callable[[Endpoint], bool]) -> Endpoint:
    return next(e for e in endpoints().values() if wanted(e))


def plan_of(endpoint: Endpoint, **changes) -> Plan:
    return endpoint.plan(endpoint.request(**body(endpoint) | changes), 7)


@dataclass
class OutsideRig:
    """Everything a test may look at."""

    cluster: OneReplica
    dispatcher: Dispatcher
    fallbacks: Fallbacks
    decisions: list[Decision]
    started: list[tuple[str, str]] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    async def call(
        self, endpoint: Endpoint, outside: Outside, *, mode: Mode = Mode.AUTO, seconds: float = 30.0, tenant: str = "a", **changes
    ):
        """One call; its Result."""
        plan = plan_of(endpoint, **changes)
        fallback = self.fallbacks.of(endpoint, plan, tenant, outside)
        ask = Ask(tenant, mode, fallback, direct=fallback is not None and outside.only is not None)
        found = []
        on_start = lambda name, why: self.started.append((name, str(why)))  # noqa: E731
        async for event in self.dispatcher.run(plan, deadline=time.time() + seconds, on_start=on_start, ask=ask):
            if isinstance(event, Result):
                found.append(event)
        (result,) = found
        self.results.append(result)
        return result

    @asynccontextmanager
    async def busy(self, endpoint: Endpoint, seconds: float = 60.0):
        """The cluster's replica is busy, and predicted to be for some time."""
        usual, self.cluster.seconds = self.cluster.seconds, seconds
        plan = plan_of(endpoint)
        per_unit = self.dispatcher._foresight.estimator._per_unit[plan.stages[0].deployment, "cluster"]
        for _ in range(40):
            per_unit.observe(seconds / plan.units[0])
        task = asyncio.create_task(self.call(endpoint, Outside(), seconds=10 * seconds))
        while not self.cluster._lock.locked():
            assert not task.done(), task
            await asyncio.sleep(0.01)
        self.cluster.seconds = usual
        self.started.clear()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def breaker(self, pool: str) -> State:
        return self.fallbacks.outgoing.breaker(pool).state(time.monotonic())

    async def spent(self) -> float:
        return await self.fallbacks.budget.spent()

    async def out(self, pool: str) -> int:
        return await self.fallbacks.budget.out(pool)


@asynccontextmanager
async def outside_rig(folder: Path, *, rules: BreakerRules | None = None, **settings) -> AsyncIterator[OutsideRig]:
    chosen = Settings(**{"burst_after_s": 0.2, "burst_dwell_s": 0.2, "rates": RATES, **BOUNDS, **settings})
    decisions = list[Decision]()
    cluster = OneReplica()
    engine = Jobs(f"sqlite:///{folder}/jobs.db").engine
    known = deployments()
    placed = dispatcher(chosen, cluster, engine, known, estimator_of(chosen, known), observe=lambda _, decision: decisions.append(decision))
    outside = fallbacks(chosen, engine, loopback_fetcher())
    assert outside is not None
    outside.outgoing.rules = rules
    yield OutsideRig(cluster, placed, outside, decisions)
    await outside.close()
