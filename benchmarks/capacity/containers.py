"""Containers of the mirror, as the platform bills them: from their start, through work and idling, to the end of their window."""

import heapq
from collections import deque
from dataclasses import dataclass, field

WARM_S = 0.3


@dataclass(slots=True)
class Containers:
    """Of one pool. rate: USD a second; most: how many there may be; window_s: how long one is kept idle."""

    rate: float
    cold_s: float
    window_s: float
    most: int
    usd: float = 0.0
    started: int = 0
    busy: list[float] = field(default_factory=list)
    idle: deque[float] = field(default_factory=deque)  # since when, the oldest first

    def _settle(self, now: float) -> None:
        while self.busy and self.busy[0] <= now:
            self.idle.append(heapq.heappop(self.busy))
        while self.idle and self.idle[0] + self.window_s < now:
            self.idle.popleft()
            self.usd += self.window_s * self.rate

    def opens_in(self, now: float) -> float:
        """Seconds until a call that is sent now begins."""
        self._settle(now)
        if self.idle:
            return WARM_S
        return self.cold_s if len(self.busy) < self.most else max(0.0, self.busy[0] - now) + WARM_S

    def run(self, now: float, service_s: float) -> tuple[float, float]:
        """Run a call. Returns when it begins and ends."""
        before = self.usd
        self._settle(now)
        if self.idle:
            since, begins = self.idle.pop(), now + WARM_S
            self.usd += (begins - since) * self.rate
        elif len(self.busy) < self.most:
            begins = now + self.cold_s
            self.started += 1
            self.usd += self.cold_s * self.rate
        else:
            begins = max(now, heapq.heappop(self.busy)) + WARM_S
            self.usd += WARM_S * self.rate
        ends = begins + service_s
        self.usd += service_s * self.rate
        heapq.heappush(self.busy, ends)
        assert self.usd >= before
        return begins, ends

    def close(self) -> float:
        """The bill, with the windows that are still to run."""
        self._settle(float("inf"))
        return self.usd
