"""What a burst costs: container time, that is its start if the call caused it, its idling afterwards, and the call's share of its work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from modal_burst.pools import Pool
from models.errors import FaultKind
from models.host import Result
from models.runner import Finished

if TYPE_CHECKING:
    from modal_burst.backend import Report

WAITED_S: Final = 1.0  # longer than a container that is free lets a call wait
COLD_START: Final = "cold_start"  # the stage of work, in Finished.seconds, that tells of a container started for the call


@dataclass(frozen=True, slots=True)
class Prices:
    """What bursts cost. rates: USD per second by card; idle_s: how long a container that has no call is kept, and paid."""

    rates: Mapping[str, float]
    idle_s: float

    def paid_s(self, report: "Report", cold_s: float) -> float:
        """Seconds of container time that a call has cost. cold_s: a usual cold start, for a container that starts in vain."""
        if report.opened_s is None:
            in_vain = report.kind in (FaultKind.CANCELLED, FaultKind.DEADLINE)
            return max(report.total_s, cold_s) + self.idle_s if in_vain else report.total_s if report.kind is FaultKind.INFRA else 0.0
        if report.cold:
            start = report.opened_s + self.idle_s
        else:  # one that waited long for a used container has had another started, which may be in vain
            start = report.idle_s + (cold_s + self.idle_s if report.opened_s > WAITED_S else 0.0)
        return start + (report.charged_s if report.kind is None else report.total_s - report.opened_s)


def report_of_half(of: Pool, kind: FaultKind | None, total_s: float, results: Sequence[Result]) -> "Report":
    """How the first half of a chain went, as far as it can be told from here: a failed one is charged for all the time it was out."""
    from modal_burst.backend import Report

    if not results:
        return Report(of, kind, 0.0, False, total_s, 0.0)
    first = results[0].stages[0]
    opened_s = first.seconds.get(COLD_START)
    return Report(of, None, opened_s or 0.0, opened_s is not None, total_s, first.busy_s * first.card.share)


def with_cold_start(finished: Finished, report: "Report") -> Finished:
    """What a stage on the mirror learned, with the start of its container as a stage of its work."""
    if not report.cold or report.opened_s is None:
        return finished
    return replace(finished, seconds=finished.seconds | {COLD_START: report.opened_s})
