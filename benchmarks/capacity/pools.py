"""The mirror in the simulation: what it offers a call, and the calls that run there."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.capacity.cards import SPEED
from benchmarks.capacity.containers import Containers
from modal_burst.pools import pool
from models.errors import NotConfigured
from serve.overflow import Offer, Reason, Route

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the mirror costs and how it is kept. window_s: of an idle container; most: containers of a pool; cap: of bursts, USD a day."""

    rates: Mapping[str, float]
    window_s: float
    most: int
    cap_usd_per_day: float


class Pools:
    """Pools of containers, each made at its first use. cold_s: of pools whose start is not what is declared."""

    def __init__(self, terms: Terms, cold_s: Mapping[Names, float]) -> None:
        self._terms = terms
        self._cold_s = cold_s
        self._pools: dict[Names, tuple[Containers, float]] = {}
        self._spent_before = 0.0

    def midnight(self) -> None:
        """A new day's money."""
        self._spent_before = self._spent()

    def bill(self) -> float:
        """USD of all containers, to the end of their windows."""
        return sum(containers.close() for containers, _ in self._pools.values())

    def offers(self, names: Names, works: tuple[float, ...], now: float, second_s: float | None) -> list[Offer]:
        """The ways to burst. second_s: until the second of two stages would be done on owned cards; None where there are none."""
        offers = list[Offer]()
        for route in (Route.WHOLE, Route.PART) if len(names) == 2 and second_s is not None else (Route.WHOLE,):
            held = names[:1] if route is Route.PART else names
            try:
                containers, speed = self._pool(held)
            except NotConfigured:
                continue
            service_s = max(works[: len(held)]) / speed
            usd = (containers.cold_s + service_s + containers.window_s) * containers.rate
            over = self._spent() - self._spent_before + usd > self._terms.cap_usd_per_day
            done_s = containers.opens_in(now) + service_s
            done_s = max(done_s, second_s) if route is Route.PART and second_s is not None else done_s
            offers.append(Offer(route, done_s, usd, Reason.DAY_BUDGET if over else None))
        return offers

    def run(self, held: Names, work_s: float, now: float) -> tuple[float, float]:
        """Run `work_s` seconds of an L40S's work. Returns when it begins and ends."""
        containers, speed = self._pool(held)
        return containers.run(now, work_s / speed)

    def _pool(self, held: Names) -> tuple[Containers, float]:
        found = self._pools.get(held)
        if found is None:
            of = pool(held)
            containers = Containers(
                self._terms.rates[of.gpu], self._cold_s.get(held, of.cold_start_s), self._terms.window_s, self._terms.most
            )
            found = self._pools[held] = containers, SPEED[of.gpu]
        return found

    def _spent(self) -> float:
        return sum(containers.usd for containers, _ in self._pools.values()) if self._terms.cap_usd_per_day < float("inf") else 0.0
