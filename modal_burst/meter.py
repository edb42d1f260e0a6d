"""Splits a container's time among the calls that share it, so that what the calls are charged adds up to what the container costs."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Meter:
    """Each moment is charged in equal parts to the calls that run in it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._charged: list[list[float]] = []
        self._since = clock()

    @contextmanager
    def call(self) -> Generator[Callable[[], float]]:
        """While this is open the call takes part; what it gives tells the seconds charged so far."""
        mine = [0.0]
        self._settle()
        self._charged.append(mine)

        def charged() -> float:
            self._settle()
            return mine[0]

        try:
            yield charged
        finally:
            self._settle()
            self._charged = [other for other in self._charged if other is not mine]

    def _settle(self) -> None:
        now = self._clock()
        for charged in self._charged:
            charged[0] += (now - self._since) / len(self._charged)
        self._since = now
