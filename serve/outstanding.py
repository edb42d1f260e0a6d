"""The ledger of outstanding work kept in one process: for a single gateway, and where no shared ledger runs."""

import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

OVERDUE: Final = 0.1  # what a call that has taken longer than predicted is thought to need still, as a part of what it has taken


@dataclass(slots=True)
class _Call:
    seconds: float
    began: float | None = None


class OutstandingHere:
    """First come, first served, on as many slots as `slots` tells for a deployment."""

    def __init__(self, slots: Callable[[str], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._clock = clock
        self._lines: dict[str, dict[str, _Call]] = {}
        self._numbers = itertools.count()

    async def seconds_ahead(self, deployment: str, lease: str | None = None) -> float:
        """Predicted seconds until a new call would begin; with `lease`, until that call begins; 0 once it has."""
        line = self._lines.get(deployment, {})
        calls = list(line.values()) if lease is None else [call for key, call in line.items() if key < lease]
        slots = max(1, self._slots(deployment))
        self._begin(deployment, slots)
        free = [self._left(call) for call in calls if call.began is not None]
        free += [0.0] * (slots - len(free))
        heapq.heapify(free)
        for call in calls:
            if call.began is None:
                heapq.heapreplace(free, free[0] + call.seconds)
        return free[0] if lease is None or (lease in line and line[lease].began is None) else 0.0

    def backlog(self) -> dict[str, tuple[float, int, int]]:
        """By deployment: predicted seconds of work left, calls, and how many of these have begun."""
        found: dict[str, tuple[float, int, int]] = {}
        for deployment, line in self._lines.items():
            if line:
                self._begin(deployment, max(1, self._slots(deployment)))
                left = sum(call.seconds if call.began is None else self._left(call) for call in line.values())
                found[deployment] = (left, len(line), sum(call.began is not None for call in line.values()))
        return found

    async def admit(self, deployment: str, seconds: float) -> str:
        """Take a call into the line. Returns its lease, which sorts by age."""
        lease = f"{next(self._numbers):012d}-{deployment}"
        self._lines.setdefault(deployment, {})[lease] = _Call(seconds)
        self._begin(deployment, max(1, self._slots(deployment)))
        return lease

    async def done(self, lease: str) -> None:
        """The call has ended."""
        deployment = lease.split("-", 1)[1]
        if self._lines.get(deployment, {}).pop(lease, None) is not None:
            self._begin(deployment, max(1, self._slots(deployment)))

    def _begin(self, deployment: str, slots: int) -> None:
        """The oldest calls are those that run."""
        for call in itertools.islice(self._lines.get(deployment, {}).values(), slots):
            if call.began is None:
                call.began = self._clock()

    def _left(self, call: _Call) -> float:
        assert call.began is not None
        taken = self._clock() - call.began
        return max(call.seconds - taken, OVERDUE * max(call.seconds, taken))
