"""Containers of the mirror, as the platform runs and bills them: from their start, through work and idling, to the end of their window."""

import heapq
from collections import deque
from dataclasses import dataclass, field

WARM_S = 0.3


@dataclass(slots=True)
class Containers:
    """Of one pool. rate: USD a second; most: how many there may be; window_s: how long one is kept idle.

    One is started whenever more calls are out than containers are up, and a call runs on whichever is free first: a new one that was
    started for it, or one that has just ended its work.
    """

    rate: float
    cold_s: float
    window_s: float
    most: int
    usd: float = 0.0
    started: int = 0
    out: list[float] = field(default_factory=list)  # when each call ends that runs or waits
    free: list[float] = field(default_factory=list)  # when each container is free that is at work, or starting
    idle: deque[float] = field(default_factory=deque)  # since when, the oldest first

    def opens_in(self, now: float) -> float:
        """Seconds until a call that is sent now begins."""
        self._settle(now)
        if self.idle:
            return WARM_S
        first = self.free[0] - now if self.free else float("inf")
        return (min(first, self.cold_s) if self._may_start() else first) + WARM_S

    def run(self, now: float, service_s: float) -> tuple[float, float]:
        """Run a call. Returns when it begins and ends."""
        self._settle(now)
        if self.idle:
            since = self.idle.pop()
        else:
            if self._may_start():
                self.started += 1
                self.usd += self.cold_s * self.rate
                heapq.heappush(self.free, now + self.cold_s)
            since = heapq.heappop(self.free)
        begins = max(now, since) + WARM_S
        ends = begins + service_s
        self.usd += (ends - since) * self.rate
        heapq.heappush(self.free, ends)
        heapq.heappush(self.out, ends)
        return begins, ends

    def close(self) -> float:
        """The bill, with the windows that are still to run."""
        self._settle(float("inf"))
        return self.usd

    def _may_start(self) -> bool:
        up = len(self.free)
        return up < self.most and up <= len(self.out)

    def _settle(self, now: float) -> None:
        while self.out and self.out[0] <= now:
            heapq.heappop(self.out)
        while self.free and self.free[0] <= now:
            self.idle.append(heapq.heappop(self.free))
        while self.idle and self.idle[0] + self.window_s < now:
            self.idle.popleft()
            self.usd += self.window_s * self.rate
