"""A circuit breaker that goes by the kind of fault: a broken set-up or platform opens it, throttling slows it, bad input is no fault."""

import logging
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from models.errors import FaultKind

log = logging.getLogger("ryla.burst")

PROVEN: Final = (None, FaultKind.MODEL)  # outcomes that show that the path works: a result, or the model's own answer


class State(StrEnum):
    """CLOSED lets calls pass; OPEN none; HALF_OPEN one, as a probe."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When to open, and for how long.

    failures of the last `window` calls open it for `pause_s`, which doubles with every failed probe up to `longest_s`;
    a fault of the set-up opens it at once, for `setup_s`. calls: how many may be out while nothing throttles.
    """

    failures: int = 3
    window: int = 10
    pause_s: float = 10.0
    longest_s: float = 300.0
    setup_s: float = 60.0
    calls: int = 64


class Breaker:
    """Of one pool of the mirror. Every method takes the present time, of a steady clock."""

    def __init__(self, name: str, rules: BreakerRules | None = None) -> None:
        self._name = name
        self._rules = rules or BreakerRules()
        self._failed: deque[bool] = deque(maxlen=self._rules.window)
        self._open_until: float | None = None
        self._pause_s = self._rules.pause_s
        self._probing = False
        self._hold_until = 0.0
        self._limit = float(self._rules.calls)
        self._out = 0

    def state(self, now: float) -> State:
        """The state as a call would find it."""
        if self._open_until is None:
            return State.CLOSED
        return State.OPEN if now < self._open_until else State.HALF_OPEN

    def refuses_for(self, now: float) -> float | None:
        """Seconds until a call may pass, at the earliest; None when one may pass now."""
        if self._open_until is not None and (now < self._open_until or self._probing):
            return max(1.0, self._open_until - now)
        if now < self._hold_until:
            return self._hold_until - now
        return 1.0 if self._out >= int(self._limit) else None

    def sent(self, now: float) -> None:
        """A call goes out. One that finds the breaker half open is its probe."""
        self._out += 1
        self._probing = self._probing or self.state(now) is State.HALF_OPEN

    def ended(self, kind: FaultKind | None, now: float, retry_after_s: float | None = None) -> None:
        """A call has ended: None for a result, or the kind of its fault."""
        self._out -= 1
        probe, self._probing = self._probing and self.state(now) is State.HALF_OPEN, False
        if kind in PROVEN:
            self._proven()
        elif kind is FaultKind.CONFIG:
            self._open(now, self._rules.setup_s, kind)
        elif kind is FaultKind.THROTTLED:
            self._limit = max(1.0, min(self._limit, self._out + 1.0) / 2)
            self._hold_until = max(self._hold_until, now + (retry_after_s or 1.0))
        elif probe and kind is not FaultKind.CANCELLED:
            self._pause_s = min(2 * self._pause_s, self._rules.longest_s)
            self._open(now, self._pause_s, kind)
        elif kind is FaultKind.INFRA and self._open_until is None:
            self._failed.append(True)
            if sum(self._failed) >= self._rules.failures:
                self._open(now, self._pause_s, kind)

    def _proven(self) -> None:
        self._limit = min(self._limit + 1.0 / self._limit, float(self._rules.calls))
        self._failed.append(False)
        if self._open_until is not None:
            log.info("breaker of %s: closed", self._name)
            self._open_until = None
            self._pause_s = self._rules.pause_s
            self._failed.clear()

    def _open(self, now: float, seconds: float, kind: FaultKind | None) -> None:
        self._open_until = now + seconds
        level = logging.ERROR if kind is FaultKind.CONFIG else logging.WARNING
        log.log(level, "breaker of %s: open for %.0f s (%s)", self._name, seconds, kind)
