"""A day of calls through the real decision: what each waited, and what everything cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import simpy
from numpy.typing import NDArray

from benchmarks.capacity.cards import SPEED, Fleet
from benchmarks.capacity.containers import Containers
from benchmarks.capacity.contract import Published
from benchmarks.capacity.trace import DAY_S, Trace
from deployments.spec.deployment import Deployment
from serve.overflow import LOW, Decision, Mode, Offer, Reason, Route, Situation, Tide, decide
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
    """What stays the same through a day. window_s, most: of a pool's containers. speed: how much faster than the published times."""

    declared: Mapping[str, Deployment]
    endpoints: Sequence[tuple[Published, tuple[str, ...], bool]]  # with its deployments, and whether it makes clips
    place: Place
    cards: Mapping[str, int] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=lambda: LIST_RATES)
    cap_usd_per_day: float = 1e12
    window_s: float = 10.0
    most: int = 50
    dwell_s: float = 30.0
    speed: float = 1.0
    published_cold: bool = False

    def work(self, number: int) -> tuple[float, ...]:
        """Seconds of an L40S's work of each stage."""
        published = self.endpoints[number][0]
        return tuple(seconds * SPEED[published.card] / self.speed for seconds in published.seconds)


@dataclass(slots=True)
class Outcome:
    """What a day came to. took: seconds of each call, infinite when it was refused; waited: before its slowest stage began."""

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
        self._pools: dict[tuple[str, ...], Containers] = {}
        self._tides: dict[str, Tide] = {}
        self._set_aside = self._spent_before = 0.0
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
            burst_usd=sum(pool.close() for pool in self._pools.values()),
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
            self._spent_before = self._spent()

    def _call(self, number: int, now: float, kind: int, lora: int) -> None:
        _, names, _ = self._world.endpoints[kind]
        works, noise = self._work[kind], self._noise[number]
        if self._fleet is None:
            decision = decide(Situation(Mode.FORCE, 0.0, 0.0, DEADLINE_S, 0.0), lambda: self._offers(names, works, now, 0.0))
        else:
            decision = self._decide(names, works, now)
        self._reasons[decision.reason] = self._reasons.get(decision.reason, 0) + 1
        if decision.route is Route.NONE:
            return
        ends, waited, in_time = now, 0.0, True
        there = self._there(decision, names, works, noise, now)
        for index, (name, work) in enumerate(zip(names, works, strict=True)):
            if index < len(there):
                begins, done = there[index]
            else:
                assert self._fleet is not None
                line = self._fleet.lines[name]
                begins, done = self._fleet.serve(name, now, work * noise + (line.lora_load(lora) if index == 0 else 0.0))
            waited = max(waited, begins - now)
            in_time = in_time and begins - now <= self._world.declared[name].replicas.target_wait_s
            ends = max(ends, done)
        self._took[number], self._waited[number] = ends - now, waited
        self._in_time[number], self._burst[number] = in_time, bool(there)

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
        return decide(situation, lambda: self._offers(names, works, now, waits[-1] + works[-1]))

    def _offers(self, names: tuple[str, ...], works: tuple[float, ...], now: float, second_s: float) -> list[Offer]:
        offers = list[Offer]()
        for route in (Route.WHOLE, Route.PART) if len(names) == 2 and self._fleet is not None else (Route.WHOLE,):
            held = names[:1] if route is Route.PART else names
            if any(self._world.declared[name].burst is None for name in held):
                continue
            pool, service_s = self._pool(held), self._service_there(held, works)
            usd = (pool.cold_s + service_s + pool.window_s) * pool.rate
            over = self._spent() - self._spent_before + usd > self._world.cap_usd_per_day
            done_s = pool.opens_in(now) + service_s
            offers.append(Offer(route, max(done_s, second_s) if route is Route.PART else done_s, usd, Reason.DAY_BUDGET if over else None))
        return offers

    def _there(self, decision: Decision, names: tuple[str, ...], works: tuple[float, ...], noise: float, now: float):
        """When the stages begin and end that run on the mirror."""
        if decision.offer is None:
            return []
        held = names[:1] if decision.route is Route.PART else names
        run = self._pool(held).run(now, self._service_there(held, works) * noise)
        return [run] * len(held)

    def _service_there(self, held: tuple[str, ...], works: tuple[float, ...]) -> float:
        return max(works[: len(held)]) / SPEED[self._gpu(held)]

    def _gpu(self, held: tuple[str, ...]) -> str:
        cards = [burst.gpu for name in held if (burst := self._world.declared[name].burst) is not None]
        return max(cards, key=SPEED.__getitem__)

    def _pool(self, held: tuple[str, ...]) -> Containers:
        if held not in self._pools:
            cold_s = sum(burst.cold_start_s for name in held if (burst := self._world.declared[name].burst) is not None)
            if self._world.published_cold:
                cold_s = max(published.cold_s for published, names, _ in self._world.endpoints if names == held)
            self._pools[held] = Containers(self._world.rates[self._gpu(held)], cold_s, self._world.window_s, self._world.most)
        return self._pools[held]

    def _spent(self) -> float:
        return sum(pool.usd for pool in self._pools.values()) if self._world.cap_usd_per_day < 1e12 else 0.0

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
