"""Where a call runs: here, on the mirror, or nowhere for now. Pure functions of what is known when it arrives; all times in seconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

GAIN_S: Final = 1.0  # the mirror must be done this much earlier: predictions are no better than that


class Mode(StrEnum):
    """What the caller's `X-Burst` asks for."""

    NEVER = "never"
    AUTO = "auto"
    FORCE = "force"


class Route(StrEnum):
    """How a call runs. PART: a chain's first half on the mirror, its second here. FALLBACK: outside, by another model or pod."""

    CLUSTER = "cluster"
    WHOLE = "whole"
    PART = "part"
    FALLBACK = "fallback"
    NONE = "none"


class Reason(StrEnum):
    """Why a call runs where it does; the value of `X-Burst-Reason` and a label in metrics."""

    ASKED = "asked"  # the caller's X-Burst
    IN_TIME = "in-time"  # the cluster's wait is short enough
    LATE = "late"  # the cluster's wait is too long
    DEADLINE = "deadline"  # the cluster would miss the deadline
    FULL = "cluster-full"  # the cluster took no more calls
    MOVED = "moved"  # it waited here and had not begun
    NO_GAIN = "no-gain"  # the mirror would be no earlier, or miss the deadline
    OFF = "off"  # bursting is not switched on
    NOT_MIRRORED = "not-mirrored"
    UNREACHABLE = "unreachable"  # no line to the mirror, or a wrong one
    BREAKER = "breaker"  # calls to the mirror failed of late
    SLOTS = "slots"  # as many calls burst as may
    CALL_BUDGET = "budget-call"
    MINUTE_BUDGET = "budget-minute"
    DAY_BUDGET = "budget-day"
    TENANT_BUDGET = "budget-tenant"
    MIRROR_FAILED = "mirror-failed"  # tried there first
    LOST = "replica-lost"  # tried here first
    FALLBACK = "fallback"  # neither here in time nor on the mirror
    FALLBACK_FAILED = "fallback-failed"  # tried there first


SETTLED: Final = frozenset({Reason.ASKED, Reason.OFF, Reason.NOT_MIRRORED})  # reasons that no waiting mends


class Outstanding(Protocol):
    """The ledger of work that the cluster has taken on and not finished, in predicted seconds."""

    async def seconds_ahead(self, deployment: str, lease: str | None = None) -> float:
        """Predicted seconds until a new call of `deployment` would begin; with `lease`, until that call begins; 0 once it has."""
        ...

    async def admit(self, deployment: str, seconds: float) -> str:
        """Take a call of predicted `seconds` of work into the line. Returns its lease."""
        ...

    async def done(self, lease: str) -> None:
        """The call has ended, however; forgetting it twice is no error."""
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """What one way to burst promises.

    done_s: until its result; `sure` when that was measured and is no mere prior, which refuses nobody. usd: what must be set aside for it.
    refusal: why it cannot be had now, and for how long if that is known.
    """

    route: Route
    done_s: float
    usd: float = 0.0
    refusal: Reason | None = None
    refused_for_s: float | None = None
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Situation:
    """What the decision goes by.

    wait_s, service_s: on the cluster; `sure` when the service time was measured and is no mere prior.
    left_s: until the deadline. late_s: a longer wait is too long; `overflow.Tide` says which. full: the cluster has refused the call.
    placed: whether the cluster could ever run it.
    """

    mode: Mode
    wait_s: float
    service_s: float
    left_s: float
    late_s: float
    sure: bool = True
    full: bool = False
    placed: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """Where to run, and why. NONE: nothing fits; try again after `retry_after_s`. fits_here: whether the cluster would do, if late."""

    route: Route
    reason: Reason
    offer: Offer | None = None
    retry_after_s: float | None = None
    fits_here: bool = True


@dataclass(frozen=True, slots=True)
class Tide:
    """Hysteresis: high at once when a wait exceeds `high_s`; low again once waits have stayed at or under `low_s` for `dwell_s`."""

    high: bool = False
    calm_since: float | None = None

    def after(self, wait_s: float, now: float, *, high_s: float, low_s: float, dwell_s: float) -> "Tide":
        """The tide after a wait of `wait_s` was seen at `now`."""
        if wait_s > high_s or (self.high and wait_s > low_s):
            return HIGH
        if not self.high:
            return LOW
        since = now if self.calm_since is None else self.calm_since
        return LOW if now - since >= dwell_s else Tide(True, since)


LOW: Final = Tide()
HIGH: Final = Tide(True)


def decide(situation: Situation, offers: Callable[[], Sequence[Offer]]) -> Decision:
    """Where the call runs. `offers` is asked only when the cluster alone does not settle it."""
    if situation.mode is Mode.FORCE:
        return _forced(situation, offers())
    here_s = situation.wait_s + situation.service_s
    tries = situation.wait_s <= 0 or not situation.sure  # an idle replica loses nothing by a try that its deadline may end
    fits = not situation.full and (situation.wait_s if tries else here_s) <= situation.left_s
    if situation.mode is Mode.NEVER:
        return Decision(Route.CLUSTER, Reason.ASKED) if fits else _refuse(situation, Reason.ASKED, ())
    if fits and situation.wait_s <= situation.late_s:
        return Decision(Route.CLUSTER, Reason.IN_TIME)
    found = offers()
    best = _best(found, min(here_s - GAIN_S, situation.left_s) if fits else situation.left_s)
    if best is not None:
        return Decision(best.route, Reason.FULL if situation.full else Reason.LATE if fits else Reason.DEADLINE, best)
    why = _why_not(found)
    return Decision(Route.CLUSTER, why) if fits else _refuse(situation, why, found)


def instead(decision: Decision, situation: Situation, offer: Offer) -> Decision:
    """The decision once a call's fallback is asked: it has its turn when the cluster is late, or refuses, and the mirror cannot help.

    Where it cannot help either and there is no mirror, its reason is the one to tell.
    """
    if situation.mode is not Mode.AUTO or decision.offer is not None or decision.reason is Reason.IN_TIME:
        return decision
    here_s, fits_here = situation.wait_s + situation.service_s, decision.route is Route.CLUSTER
    gains = offer.done_s <= min(here_s - GAIN_S, situation.left_s) if fits_here else _in_time(offer, situation)
    if gains and offer.refusal is None:
        return Decision(Route.FALLBACK, Reason.FALLBACK, offer, fits_here=fits_here)
    if fits_here or decision.reason not in SETTLED:
        return decision
    times = [time_s for time_s in (decision.retry_after_s, offer.refused_for_s) if time_s is not None]
    return Decision(Route.NONE, offer.refusal or Reason.NO_GAIN, None, max(1.0, min(times)) if times else None)


def alone(situation: Situation, offer: Offer) -> Decision:
    """The decision for a call that asks for its fallback's model itself."""
    if offer.refusal is None and _in_time(offer, situation):
        return Decision(Route.FALLBACK, Reason.ASKED, offer)
    return Decision(Route.NONE, offer.refusal or Reason.NO_GAIN, None, offer.refused_for_s)


def _in_time(offer: Offer, situation: Situation) -> bool:
    return offer.done_s <= situation.left_s or not offer.sure


def _forced(situation: Situation, offers: Sequence[Offer]) -> Decision:
    best = _best(offers, situation.left_s)
    return _refuse(situation, _why_not(offers), offers) if best is None else Decision(best.route, Reason.ASKED, best)


def _best(offers: Sequence[Offer], within_s: float) -> Offer | None:
    """The offer that is done first; of two that are done together, the cheaper."""
    open_ones = [offer for offer in offers if offer.refusal is None and offer.done_s <= within_s]
    return min(open_ones, key=lambda offer: (round(offer.done_s), offer.usd), default=None)


def _why_not(offers: Sequence[Offer]) -> Reason:
    if not offers:
        return Reason.NOT_MIRRORED
    return next((offer.refusal for offer in offers if offer.refusal is not None), Reason.NO_GAIN)


def _refuse(situation: Situation, why: Reason, offers: Sequence[Offer]) -> Decision:
    """Nothing fits. Come back when the line here is short enough, or when an offer can be had that would meet the deadline."""
    times = [offer.refused_for_s for offer in offers if offer.refused_for_s is not None and offer.done_s <= situation.left_s]
    if situation.mode is not Mode.FORCE and situation.placed and situation.service_s <= situation.left_s:
        times.append(max(situation.wait_s + situation.service_s - situation.left_s, situation.wait_s if situation.full else 0.0))
    return Decision(Route.NONE, why, None, max(1.0, min(times)) if times else None)
