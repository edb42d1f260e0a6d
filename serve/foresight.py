"""What a call may expect of the cluster: how long until it begins, how long it takes, and whether that is too long."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from deployments.spec.deployment import Deployment
from deployments.spec.endpoint import Plan
from serve.estimator import HERE, Estimator
from serve.overflow import LOW, Outstanding, Tide

log = logging.getLogger("ryla.dispatch")

LOW_PART: Final = 0.5  # of the wait that is too long: the mark at which it is short again


@dataclass(frozen=True, slots=True)
class Marks:
    """When a wait is too long. after_s: not given, it is what each deployment declares as its target. dwell_s: of the calm that ends it."""

    after_s: float | None = None
    dwell_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a call may expect here. second_s: until its last stage would be done, had its first no part in it."""

    wait_s: float
    service_s: float
    second_s: float
    late_s: float
    sure: bool


class Ticket:
    """A call's place in the lines of the deployments it needs."""

    def __init__(self, plan: Plan, ledger: Outstanding, estimator: Estimator) -> None:
        self._plan = plan
        self._ledger = ledger
        seconds = estimator.stages(plan, HERE)
        self.seconds = [max(seconds[: index + 1]) for index in range(len(seconds))]  # a second stage is held while the first works
        self._leases: dict[int, str] = {}

    async def hold(self, stages: Collection[int]) -> None:
        """Stand in the lines of these of the plan's stages and of no others. Calls run without the ledger too, if it must be."""
        try:
            for index in [held for held in self._leases if held not in stages]:
                await self._ledger.done(self._leases.pop(index))
            for index in stages:
                if index not in self._leases:
                    self._leases[index] = await self._ledger.admit(self._plan.stages[index].deployment, self.seconds[index])
        except Exception:
            log.warning("the ledger of outstanding work does not answer", exc_info=True)

    async def waits(self) -> list[float]:
        """Seconds until each stage could begin; none, as far as anybody knows, while the ledger does not answer."""
        stages = enumerate(self._plan.stages)
        try:
            return [await self._ledger.seconds_ahead(stage.deployment, self._leases.get(index)) for index, stage in stages]
        except Exception:
            log.warning("the ledger of outstanding work does not answer", exc_info=True)
            return [0.0] * len(self._plan.stages)


class Foresight:
    """Predicts from the ledger of outstanding work and from learned service times."""

    def __init__(self, ledger: Outstanding, estimator: Estimator, declared: Mapping[str, Deployment], marks: Marks | None = None) -> None:
        self.estimator = estimator
        self._ledger = ledger
        self._declared = declared
        self._marks = marks or Marks()
        self._tides: dict[str, Tide] = {}

    @asynccontextmanager
    async def ticket(self, plan: Plan) -> AsyncGenerator[Ticket, None]:
        """A place in the lines, given up at the end."""
        ticket = Ticket(plan, self._ledger, self.estimator)
        try:
            await ticket.hold(range(len(plan.stages)))
            yield ticket
        finally:
            await asyncio.shield(ticket.hold(()))

    async def outlook(self, plan: Plan, ticket: Ticket) -> Outlook:
        """What the plan may expect here now."""
        waits = await ticket.waits()
        longest = max(range(len(waits)), key=waits.__getitem__)
        deployment = plan.stages[longest].deployment
        return Outlook(
            wait_s=waits[longest],
            service_s=ticket.seconds[-1],
            second_s=waits[-1] + self.estimator.stages(plan, HERE)[-1],
            late_s=self._late_s(deployment, waits[longest]),
            sure=self.estimator.sure(plan),
        )

    def _late_s(self, deployment: str, wait_s: float) -> float:
        """The wait that is too long, which is shorter while the tide is high."""
        high_s = self._declared[deployment].replicas.target_wait_s if self._marks.after_s is None else self._marks.after_s
        low_s = LOW_PART * high_s
        tide = self._tides.get(deployment, LOW).after(wait_s, time.monotonic(), high_s=high_s, low_s=low_s, dwell_s=self._marks.dwell_s)
        self._tides[deployment] = tide
        return low_s if tide.high else high_s
