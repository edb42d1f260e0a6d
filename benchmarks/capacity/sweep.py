"""Days at several fleet sizes, and the fleet that costs least while calls begin in time."""

import math
import multiprocessing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.capacity.cards import SPEED, whole_cards
from benchmarks.capacity.day import Day, Outcome, Place, World, demand_of
from benchmarks.capacity.trace import Trace

KINDS = ("L40S", "A100-80GB")
FACTORS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
TODAY_WINDOW_S = 300.0  # how long the present system keeps its containers
WINDOWS_S = (10.0, 60.0, 120.0, 180.0, 240.0, 300.0)


@dataclass(frozen=True, slots=True)
class Prices:
    """Of owned cards, USD an hour by kind."""

    per_hour: Mapping[str, float]

    def per_day(self, outcome: Outcome) -> float:
        """What a day cost: cards and bursts."""
        return outcome.owned_usd(self.per_hour) + outcome.burst_usd / outcome.days


_inherited: list[tuple[World, Trace]] = []


def _run(changes: Mapping[str, object]) -> Outcome:
    world, trace = _inherited[0]
    return Day(replace(world, **changes), trace).run()


def days(world: World, trace: Trace, changes: Iterable[Mapping[str, object]], workers: int = 2) -> list[Outcome]:
    """One day for each set of changes to `world`, on as many processes."""
    _inherited[:] = [(world, trace)]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        return pool.map(_run, changes, chunksize=1)


def fleets(world: World, trace: Trace, factors: Iterable[float] = FACTORS) -> list[dict[str, int]]:
    """Fleets as multiples of the cards that the mean work fills."""
    filled = whole_cards(demand_of(world, trace), world.declared, KINDS)
    return [{kind: math.ceil(cards * factor) for kind, cards in filled.items()} for factor in factors]


def all_modal(world: World, trace: Trace) -> list[Outcome]:
    """Everything on Modal: with the starts and the window of the present system, then on the mirror with several windows."""
    alone = {"place": Place.MODAL, "most": 10**6}
    windows = [alone | {"window_s": window_s} for window_s in WINDOWS_S]
    return days(world, trace, [alone | {"window_s": TODAY_WINDOW_S, "published_cold": True}, *windows])


def rival(modal: Sequence[Outcome], prices: Prices, objective: float) -> Outcome:
    """The cheapest way to run everything on Modal that meets the objective; the best there is when none does."""
    good = [outcome for outcome in modal if outcome.objective >= objective]
    return min(good, key=prices.per_day) if good else max(modal, key=lambda outcome: outcome.objective)


def recommend(world: World, trace: Trace, start: Mapping[str, int], prices: Prices, objective: float, steps: int = 6) -> list[Outcome]:
    """Fleets with bursts, tried from `start` downhill, one kind of card or both at a time; the cheapest that is good enough first."""
    seen: dict[tuple[int, ...], Outcome] = {}

    def cost(outcome: Outcome) -> tuple[float, float]:
        return max(0.0, objective - outcome.objective), prices.per_day(outcome)

    def best_of(candidates: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
        fresh = [counts for counts in dict.fromkeys(candidates) if counts not in seen]
        changes = [{"place": Place.BOTH, "cards": dict(zip(KINDS, counts, strict=True))} for counts in fresh]
        seen.update(zip(fresh, days(world, trace, changes), strict=True))
        return min(seen, key=lambda counts: cost(seen[counts]))

    slow, fast = (start[kind] for kind in KINDS)
    mostly_fast = math.ceil(slow / 4), fast + math.ceil(0.75 * slow / SPEED[KINDS[1]])
    here, step = best_of([(slow, fast), mostly_fast]), 0.3
    for _ in range(steps):
        around = [
            tuple(max(0, count + sign * math.ceil(count * step)) for count, sign in zip(here, signs, strict=True))
            for signs in ((-1, -1), (-1, 0), (0, -1), (1, 0), (0, 1), (1, 1), (-1, 1), (1, -1))
        ]
        after = best_of(around)
        here, step = after, step if after != here else step / 2
    return sorted(seen.values(), key=cost)
