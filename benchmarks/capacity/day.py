"""A day of calls through the real decision: what each waited, and what everything cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import simpy
from numpy.typing import NDArray

from benchmarks.capacity.cards import SPEED, Fleet
from benchmarks.capacity.contract import Published
from benchmarks.capacity.pools import Pools, Terms
from benchmarks.capacity.trace import DAY_S, Trace
from deployments.spec.deployment import Deployment
from serve.overflow import LOW, Decision, Mode, Route, Situation, Tide, decide
from serve.settings import LIST_RATES

TICK_S, REBALANCE_S = 1.0, 300.0
SPREAD = 0.15  # of service times, as a log-normal's
DEADLINE_S = 1200.0


class Place(StrEnum):
    """Where calls may run."""

    MODAL = "all Modal"
    OWNED = "owned only"
    BOTH = "owned + burst"


@dataclass(frozen=True, slots=True)
class World:
    """What stays the same through a day.

    endpoints: each with its deployments and whether it makes clips. window_s, most: of a pool's containers.
    speed: how much faster the work is done than the published times. published_cold: starts take as long as they did on the present system.
    """

    declared: Mapping[str, Deployment]
    endpoints: Sequence[tuple[Published, tuple[str, ...], bool]]
    place: Place
    cards: Mapping[str, int] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=lambda: LIST_RATES)
    cap_usd_per_day: float = float("inf")
    window_s: float = 10.0
    most: int = 50
    dwell_s: float = 30.0
    speed: float = 1.0
    published_cold: bool = False

    def work(self, number: int) -> tuple[float, ...]:
        """Seconds of an L40S's work of each stage."""
        published = self.endpoints[number][0]
        return tuple(seconds * SPEED[published.card] / self.speed for seconds in published.seconds)

    def cold_s(self) -> dict[tuple[str, ...], float]:
        """Published starts by pool, where they are asked for."""
        cold = dict[tuple[str, ...], float]()
        for published, names, _ in self.endpoints if self.published_cold else ():
            cold[names] = max(cold.get(names, 0.0), published.cold_s)
        return cold


@dataclass(slots=True)
class Outcome:
    """What a day came to. took: seconds of each call, infinite when it was refused; waited: until its first stage began."""

    place: Place
    cards: Mapping[str, int]
    took: NDArray[np.float32]
    waited: NDArray[np.float32]
    in_time: NDArray[np.bool_]
    clip: NDArray[np.bool_]
    work: NDArray[np.float64]
    burst: NDArray[np.bool_]
    burst_usd: float
    used: float
    days: float
    reasons: dict[str, int]

    @property
    def objective(self) -> float:
        """Share of the calls that began within their model's declared target."""
        return float(self.in_time.mean())

    def owned_usd(self, per_hour: Mapping[str, float]) -> float:
        """What the cards cost a day."""
        return sum(count * per_hour[kind] * 24 for kind, count in self.cards.items())


class Day:
    """One run."""

    def __init__(self, world: World, trace: Trace, seed: int = 1) -> None:
        self._world = world
        self._trace = trace
        count = len(trace.at)
        self._noise = np.exp(np.random.default_rng(seed).normal(0, SPREAD, count)).tolist()
        self._work = [world.work(number) for number in range(len(world.endpoints))]
        self._fleet = Fleet(world.cards, world.declared, self._demand()) if world.place is not Place.MODAL else None
        self._pools = Pools(Terms(world.rates, world.window_s, world.most, world.cap_usd_per_day), world.cold_s())
        self._tides: dict[str, Tide] = {}
        self._took, self._waited = np.full(count, np.inf, np.float32), np.full(count, np.inf, np.float32)
        self._in_time, self._burst = np.zeros(count, bool), np.zeros(count, bool)
        self._reasons: dict[str, int] = {}

    def run(self) -> Outcome:
        """Play the trace."""
        env = simpy.Environment()
        arriving = env.process(self._arrivals(env))
        if self._fleet is not None:
            env.process(self._rebalancing(env))
        env.process(self._midnights(env))
        env.run(until=arriving)
        clips = np.array([clip for _, _, clip in self._world.endpoints])[self._trace.endpoint]
        busy = sum(self._fleet.busy.values()) if self._fleet else 0.0
        cards = sum(self._world.cards.values()) if self._fleet else 0
        return Outcome(
            place=self._world.place,
            cards=self._world.cards if self._fleet else {},
            took=self._took,
            waited=self._waited,
            in_time=self._in_time,
            clip=clips,
            work=np.array([sum(works) for works in self._work])[self._trace.endpoint],
            burst=self._burst,
            burst_usd=self._pools.bill(),
            used=busy / (cards * DAY_S * self._trace.days) if cards else 0.0,
            days=self._trace.days,
            reasons=self._reasons,
        )

    def _arrivals(self, env: simpy.Environment):
        """Between two events of the clock, the interval's calls in order; a line is a heap of the times when its replicas are free."""
        at, endpoint, lora = self._trace.at.tolist(), self._trace.endpoint.tolist(), self._trace.lora.tolist()
        number, count = 0, len(at)
        while number < count:
            yield env.timeout(TICK_S)
            while number < count and at[number] < env.now:
                self._call(number, at[number], endpoint[number], lora[number])
                number += 1

    def _rebalancing(self, env: simpy.Environment):
        assert self._fleet is not None
        while True:
            yield env.timeout(REBALANCE_S)
            self._fleet.rebalance(env.now, REBALANCE_S)

    def _midnights(self, env: simpy.Environment):
        while True:
            yield env.timeout(DAY_S)
            self._pools.midnight()

    def _call(self, number: int, now: float, kind: int, lora: int) -> None:
        _, names, _ = self._world.endpoints[kind]
        works, noise = self._work[kind], self._noise[number]
        if self._fleet is None:
            decision = decide(Situation(Mode.FORCE, 0.0, 0.0, DEADLINE_S, 0.0), lambda: self._pools.offers(names, works, now, None))
        else:
            decision = self._decide(names, works, now)
        self._reasons[decision.reason] = self._reasons.get(decision.reason, 0) + 1
        if decision.route is Route.NONE:
            return
        there = 0 if decision.offer is None else 1 if decision.route is Route.PART else len(names)
        ready, ends, in_time = now, now, True
        if there:
            ready, ends = self._pools.run(names[:there], max(works[:there]) * noise, now)
            in_time = ready - now <= self._world.declared[names[0]].replicas.target_wait_s
            self._waited[number] = ready - now
        for index in range(there, len(names)):
            assert self._fleet is not None
            line = self._fleet.lines[names[index]]
            began, done = self._fleet.serve(names[index], ready, works[index] * noise + (line.lora_load(lora) if index == 0 else 0.0))
            in_time = in_time and began - ready <= line.declared.replicas.target_wait_s
            if index == 0:
                self._waited[number] = began - now
            ready, ends = began, max(ends, done)  # a second stage works on what the first has begun to make
        self._took[number], self._in_time[number], self._burst[number] = ends - now, in_time, there > 0

    def _decide(self, names: tuple[str, ...], works: tuple[float, ...], now: float) -> Decision:
        assert self._fleet is not None
        lines = [self._fleet.lines[name] for name in names]
        for line, work in zip(lines, works, strict=True):
            line.work += work
        waits = [line.wait(now) for line in lines]
        longest = max(range(len(waits)), key=waits.__getitem__)
        high_s = lines[longest].declared.replicas.target_wait_s
        tide = self._tides.get(names[longest], LOW)
        tide = tide.after(waits[longest], now, high_s=high_s, low_s=high_s / 2, dwell_s=self._world.dwell_s)
        self._tides[names[longest]] = tide
        situation = Situation(
            mode=Mode.NEVER if self._world.place is Place.OWNED else Mode.AUTO,
            wait_s=waits[longest],
            service_s=max(works),
            left_s=DEADLINE_S,
            late_s=high_s / 2 if tide.high else high_s,
        )
        return decide(situation, lambda: self._pools.offers(names, works, now, waits[-1] + works[-1]))

    def _demand(self) -> dict[str, float]:
        """Mean L40S-seconds a second that each model is asked for."""
        calls = np.bincount(self._trace.endpoint, minlength=len(self._world.endpoints)) / (DAY_S * self._trace.days)
        demand = dict[str, float]()
        for (_, names, _), works, rate in zip(self._world.endpoints, self._work, calls, strict=True):
            for name, work in zip(names, works, strict=True):
                demand[name] = demand.get(name, 0.0) + work * float(rate)
        return demand


def demand_of(world: World, trace: Trace) -> dict[str, float]:
    """Mean L40S-seconds a second that each model is asked for."""
    return Day(replace(world, place=Place.MODAL), trace)._demand()
