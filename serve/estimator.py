"""What a call will take: seconds per unit of work by deployment and place, and cold starts by pool, learned from what calls took.

Each quantity is a log-normal: its median and spread are running averages of logarithms, so one freak weighs little and ten real calls
outweigh the declarations' prior, even where that is off by a factor of a hundred. Kept in memory: a gateway that starts learns anew.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from deployments.spec.deployment import Deployment
from deployments.spec.endpoint import Plan
from models.runner import Finished

HERE, THERE = "cluster", "modal"
SLOWEST: Final = 0.1  # a new observation's least weight: about the last ten count
PRIOR_SPREAD: Final = 0.3
SURE_AFTER: Final = 3
ONE_IN_TWENTY: Final = 1.65  # standard deviations above the median that one call in twenty exceeds
MAX_SPREAD: Final = 1.0
LEAST_S: Final = 1e-3


class Learned:
    """A positive quantity with a prior."""

    def __init__(self, prior: float) -> None:
        self._log = math.log(prior)
        self._variance = PRIOR_SPREAD**2
        self._seen = 0

    @property
    def sure(self) -> bool:
        """Whether it rests on observations rather than on the prior."""
        return self._seen >= SURE_AFTER

    @property
    def median(self) -> float:
        """What to expect."""
        return math.exp(self._log)

    @property
    def high(self) -> float:
        """What one in twenty exceeds."""
        return math.exp(self._log + ONE_IN_TWENTY * min(math.sqrt(self._variance), MAX_SPREAD))

    def observe(self, value: float) -> None:
        """Learn from a value; the prior counts as one value."""
        self._seen += 1
        weight = max(1 / (self._seen + 1), SLOWEST)
        error = math.log(max(value, LEAST_S)) - self._log
        self._log += weight * error
        spread = error**2 if self._seen > 1 else PRIOR_SPREAD**2  # the first says how far off the prior is, not how values vary
        self._variance += weight * (spread - self._variance)


class Estimator:
    """Service times of the declared deployments, here and on the mirror. factor: on the declared priors, which are of full-size models."""

    def __init__(self, declared: Mapping[str, Deployment], factor: float = 1.0) -> None:
        self._per_unit = {(name, place): Learned(d.seconds_per_unit * factor) for name, d in declared.items() for place in (HERE, THERE)}
        self._cold = {name: d.burst.cold_start_s * factor for name, d in declared.items() if d.burst is not None}
        self._cold_of: dict[tuple[str, ...], Learned] = {}

    def stages(self, plan: Plan, place: str, *, high: bool = False) -> list[float]:
        """Seconds of work of each stage: what to expect, or with `high` what one in twenty exceeds."""
        found = (self._per_unit[stage.deployment, place] for stage in plan.stages)
        return [units * (known.high if high else known.median) for known, units in zip(found, plan.units, strict=True)]

    def sure(self, plan: Plan) -> bool:
        """Whether what is expected of the plan here was measured."""
        return all(self._per_unit[stage.deployment, HERE].sure for stage in plan.stages)

    def cold_start(self, pool: tuple[str, ...]) -> Learned:
        """Seconds until a new container of a pool runs its first call."""
        if pool not in self._cold_of:
            self._cold_of[pool] = Learned(max(sum(self._cold[name] for name in pool), LEAST_S))
        return self._cold_of[pool]

    def learn(self, plan: Plan, places: Iterable[str], stages: Iterable[Finished]) -> None:
        """Learn from a call that has ended well. places: where each stage ran."""
        for stage, units, place, finished in zip(plan.stages, plan.units, places, stages, strict=False):
            if units > 0:
                self._per_unit[stage.deployment, place].observe(finished.busy_s / units)
