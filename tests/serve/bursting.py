"""A rig for tests of bursts: the real dispatcher, budget and client of the mirror; a cluster of one replica, and a scripted mirror."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ["MODAL_CONFIG_PATH"] = os.devnull  # read when modal is first imported: keep the machine's own account out

from deployments import deployments
from deployments.spec.endpoint import Plan
from modal_burst.backend import ModalBackend, Report
from modal_burst.meter import Meter
from modal_burst.pools import pool_of
from modal_burst.settings import BurstSettings
from modal_burst.wire import pack
from models.host import Event, Result
from models.runner import Card, Finished, Progress
from serve.breaker import State
from serve.dispatch import Ask, Dispatcher
from serve.jobs import Jobs
from serve.overflow import Decision, Mode
from serve.placement import dispatcher, estimator_of
from serve.settings import Settings
from tests.modal_burst.loopback.server import LoopbackModal
from tests.modal_burst.plans import video_plan
from tests.modal_burst.scripted import ScriptedMirror, done, up

RATE = 0.01  # USD a second, so that short calls cost something
BOUNDS = {
    "RYLA_BURST_REQUEST_S": "2.0",
    "RYLA_BURST_SILENCE_S": "1.0",
    "RYLA_BURST_PING_S": "0.3",
    "RYLA_BURST_RECONNECT_S": "0.5",
    "RYLA_BURST_IDLE_S": "2",
}


def plan_of(units: float = 1.0) -> Plan:
    """A plan of one stage, of this much work; on the toy scale a unit is predicted to take 0.6 s."""
    return replace(video_plan(), units=(units,))


@dataclass
class OneReplica:
    """A cluster of one replica that takes calls one at a time; `seconds` each, unless the call's deadline is nearer."""

    seconds: float = 0.3
    name: str = "cluster"
    begun: int = 0
    finished: int = 0
    failing: list[Exception] = field(default_factory=list)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, plan: Plan, *, deadline: float | None, first: str = "cluster") -> AsyncGenerator[Event, None]:
        if self.failing:
            raise self.failing.pop(0)
        async with self._lock:
            self.begun += 1
            seconds = self.seconds
            yield Progress("denoise", 1, 2)
            await asyncio.sleep(seconds)
            self.finished += 1
            yield Result(b"here", "image/png", tuple(Finished(busy_s=seconds) for _ in plan.stages))


def working(seconds: float):
    """A script that works this long and charges for it as the real mirror does: moments shared by calls are charged in equal parts."""
    meter = Meter()

    async def script(payload: dict[str, Any]) -> AsyncIterator[Any]:
        began = time.perf_counter()
        with meter.call() as charged:
            while time.perf_counter() - began < seconds:
                yield {"progress": pack(Progress("denoise", 1, 2))}
                await asyncio.sleep(min(0.1, seconds))
            yield {"media": b"there"}
            yield done(5, Finished({}, seconds, {"denoise": seconds}, Card("L40S", charged() / seconds)))

    return script


@dataclass
class Rig:
    """Everything a test may look at. decisions: of every call, in order; reports: of every call that went to the mirror."""

    cloud: LoopbackModal
    mirror: ScriptedMirror
    cluster: OneReplica
    dispatcher: Dispatcher
    backend: ModalBackend
    decisions: list[Decision]
    reports: list[Report]
    url: str
    started: list[tuple[str, str]] = field(default_factory=list)

    @property
    def bursts(self):
        return self.dispatcher._bursts

    @property
    def breaker(self) -> State:
        return self.bursts.outgoing.breaker(pool_of(plan_of()).key).state(time.monotonic())

    async def call(self, plan: Plan | None = None, *, mode: Mode = Mode.AUTO, seconds: float = 60.0, tenant: str = "a", **ask) -> bytes:
        """Run a plan and return its media; `started` tells where it went."""
        results = []
        run = self.dispatcher.run(
            plan or plan_of(),
            deadline=time.time() + seconds,
            on_start=lambda name, why: self.started.append((name, why)),
            ask=Ask(tenant, mode, **ask),
        )
        async for event in run:
            if isinstance(event, Result):
                results.append(event.media)
        (media,) = results
        return media

    @asynccontextmanager
    async def busy(self, seconds: float = 30.0):
        """The cluster's replica is busy, and predicted to be for some time."""
        usual, self.cluster.seconds = self.cluster.seconds, seconds
        task = asyncio.create_task(self.call(plan_of(seconds / 0.6)))
        while not self.cluster._lock.locked():
            await asyncio.sleep(0.01)
        self.cluster.seconds = usual
        self.started.clear()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def spent(self) -> float:
        return await self.bursts.budget.spent()

    async def out(self) -> int:
        return await self.bursts.budget.out(pool_of(plan_of()).key)

    def settled(self) -> float:
        """What all calls that went to the mirror have cost, by the client's reports."""
        prices = self.bursts._prices
        cold_s = self.bursts._estimator.cold_start(pool_of(plan_of()).deployments).median
        return sum(prices.paid_s(report, cold_s) * RATE for report in self.reports)


@asynccontextmanager
async def rig_of(cloud: LoopbackModal, folder: Path, *, deploy: bool = True, wait: bool = True, **settings) -> AsyncIterator[Rig]:
    mirror = ScriptedMirror(working(0.3))
    if deploy:
        mirror.deploy(cloud, max_containers=4)
    decisions, reports = list[Decision](), list[Report]()
    plenty = {"burst_usd_per_minute": 100.0, "burst_usd_per_day": 100.0, "burst_usd_per_tenant_day": 100.0, "burst_usd_per_call": 1.0}
    chosen = {"burst": "on", "burst_after_s": 0.2, "rates": {"L40S": RATE, "A100-80GB": RATE}, **plenty, **settings}
    url = f"sqlite:///{folder}/jobs.db"
    backend = ModalBackend(BurstSettings(), reports.append)
    cluster = OneReplica()
    settings, known = Settings(**chosen), deployments()
    estimator = estimator_of(settings, known)
    made = dispatcher(settings, cluster, Jobs(url).engine, known, estimator, observe=lambda _, d: decisions.append(d), mirror=backend)
    rig = Rig(cloud, mirror, cluster, made, backend, decisions, reports, url)
    await rig.bursts.wake(wait=wait)
    if wait:
        await up(backend)
    yield rig
    await rig.bursts.close()
