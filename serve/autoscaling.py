"""How many replicas a model needs, by the predicted seconds of its outstanding work; Serve asks the policy some times a second.

Serve itself then keeps within the bounds, waits `upscale_delay_s` or `downscale_delay_s`, and starts the first replica of a model that has
none as soon as a call waits. A replica that is let go finishes what it runs: `graceful_shutdown_timeout_s` is the model's longest job.
"""

import math
from collections.abc import Callable
from typing import Any, Final

from ray.serve.config import AutoscalingContext

from serve.ledger import Backlog, feed

NOTHING: Final = 1e-9


def replicas_wanted(backlog: Backlog, *, target_wait_s: float, slots: int) -> int:
    """The fewest replicas with which the last call in line would begin within `target_wait_s`.

    slots: calls that a replica runs at once. Calls that have begun keep their replicas, and no replica is wanted that would have no call.
    """
    if backlog.calls == 0:
        return 0
    ahead_s = backlog.seconds * (backlog.calls - 1) / backlog.calls  # the last call does not wait for itself
    for_the_wait = math.ceil(ahead_s / (max(target_wait_s, NOTHING) * slots) - NOTHING)
    for_the_begun = math.ceil(backlog.begun / slots)
    return min(max(1, for_the_wait, for_the_begun), math.ceil(backlog.calls / slots))


class PredictedWork:
    """Serve's autoscaling policy. Built by Serve in its controller, from the keywords in the configuration."""

    def __init__(self, target_wait_s: float, slots: int, look: Callable[[str], Backlog | None] | None = None) -> None:
        self._target_wait_s = target_wait_s
        self._slots = slots
        self._look = look

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """Replicas wanted now; as many as there are while the ledger is silent, since nobody knows better."""
        backlog = (self._look or feed().backlog)(context.deployment_name)
        if backlog is None:
            return context.target_num_replicas, {}
        return replicas_wanted(backlog, target_wait_s=self._target_wait_s, slots=self._slots), {}
