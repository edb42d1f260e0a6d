"""What the gateway tells about calls: outcomes, times, money, and the line of those that wait."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deployments.spec.deployment import Deployment
from deployments.spec.endpoint import Endpoint, Plan
from models.errors import BadRequest, Cancelled, Conflict, Forbidden, NotFound, Refused, Retired, TooLarge, Unauthorized
from models.host import Result
from serve import metrics
from serve.cost import Bill
from serve.estimator import HERE, Estimator
from serve.metrics import SAMPLE_S, Record, every, record
from serve.overflow import Decision

CALLERS_DOING = (BadRequest, Cancelled, Conflict, Forbidden, NotFound, Retired, TooLarge, Unauthorized)
LEAST_S = 1e-6


@dataclass(slots=True)
class _Open:
    """An accepted call that has not ended. seconds: predicted work on the cluster, by model."""

    seconds: Mapping[str, float]
    accepted: float
    begun: float | None = None


class CallMetrics:
    """Counts calls. Used from the event loop; `sample` from the sampler's thread. It asks `estimator` and teaches it nothing."""

    def __init__(
        self,
        declared: Mapping[str, Deployment],
        rates: Mapping[str, float],
        estimator: Estimator,
        write: Record = record,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._declared = declared
        self._rates = rates
        self._write = write
        self._clock = clock
        self._estimator = estimator
        self._open: dict[str, _Open] = {}
        self._caps: Mapping[str, float] = {}

    def start(self) -> None:
        """Begin to sample."""
        every(SAMPLE_S, self.sample)

    def accepted(self, job_id: str, plan: Plan) -> None:
        """A call has entered the line."""
        self._open[job_id] = _Open(self._work(plan, 0), self._clock())

    def sent(self, job_id: str, plan: Plan, backend: str) -> None:
        """A call goes to a backend, which need not be its first: what runs elsewhere is in no line here."""
        call = self._open.get(job_id)
        if call is not None:
            in_part = backend.endswith(f"+{HERE}")  # a chain whose first stage runs on the mirror
            call.seconds = self._work(plan, 0 if backend == HERE else 1 if in_part else len(plan.stages))

    def begun(self, job_id: str) -> None:
        """A replica has begun to work on a call; only the first time counts."""
        call = self._open.get(job_id)
        if call is not None and call.begun is None:
            call.begun = self._clock()

    def refused(self, error: BaseException) -> None:
        """A call gets no result."""
        self._write(metrics.REFUSALS, 1, reason=type(error).__name__)
        if isinstance(error, Refused):
            self._write(metrics.FACE_REFUSALS, 1, rule=error.rule)

    def ended(
        self,
        job_id: str,
        endpoint: Endpoint,
        plan: Plan,
        backend: str,
        state: str,
        *,
        result: Result | None = None,
        bill: Bill | None = None,
        error: BaseException | None = None,
    ) -> None:
        """A call has reached its outcome."""
        call = self._open.pop(job_id, None)
        if call is None:
            return
        seconds = self._clock() - call.accepted
        backend = backend or "none"
        self._write(metrics.CALLS, 1, endpoint=endpoint.name, state=state, backend=backend)
        self._write(metrics.CALL_SECONDS, max(seconds, LEAST_S), endpoint=endpoint.name, backend=backend)
        if error is not None:
            self.refused(error)
        if state == "succeeded" or (state == "failed" and not isinstance(error, CALLERS_DOING)):
            met = state == "succeeded" and (call.begun or self._clock()) - call.accepted <= self._target_s(plan)
            self._write(metrics.OBJECTIVE, 1, endpoint=endpoint.name, met="yes" if met else "no")
        if result is not None:
            self._delivered(endpoint, plan, backend, seconds, result, bill)

    def decided(self, _: Plan, decision: Decision) -> None:
        """A call was sent one way; the dispatcher's observer."""
        self._write(metrics.BURST_CALLS, 1, route=decision.route, reason=decision.reason)

    def burst_caps(self, per_minute: float, per_day: float) -> None:
        """What bursts may cost, in USD; told while bursting is on."""
        self._caps = {"minute": per_minute, "day": per_day}

    def sample(self) -> None:
        """Set the gauges of the line, for every model that is served, and the cards' rates."""
        now = self._clock()
        calls = list(self._open.values())
        for model in self._declared:
            waiting = [now - call.accepted for call in calls if call.begun is None and model in call.seconds]
            self._write(metrics.WAITING, len(waiting), model=model)
            self._write(metrics.QUEUE_AGE_SECONDS, max(waiting, default=0.0), model=model)
            self._write(metrics.BACKLOG_SECONDS, sum(call.seconds.get(model, 0.0) for call in calls), model=model)
        for card, rate in self._rates.items():
            self._write(metrics.CARD_RATE_USD_PER_HOUR, rate * 3600, card=card)
        for period, usd in self._caps.items():
            self._write(metrics.BURST_CAP_USD, usd, period=period)

    def _work(self, plan: Plan, first: int) -> dict[str, float]:
        """Predicted seconds on the cluster by model, of the stages from `first` on."""
        seconds = self._estimator.stages(plan, HERE)
        return {stage.deployment: spent for stage, spent in list(zip(plan.stages, seconds, strict=True))[first:]}

    def _target_s(self, plan: Plan) -> float:
        """The objective: a replica begins within the declared target of the plan's models, the longest of them."""
        return max(self._declared[stage.deployment].replicas.target_wait_s for stage in plan.stages)

    def _delivered(self, endpoint: Endpoint, plan: Plan, backend: str, seconds: float, result: Result, bill: Bill | None) -> None:
        self._write(metrics.OUTPUTS, 1, endpoint=endpoint.name, media=endpoint.output_type, backend=backend)
        if bill is not None:
            labels = {"endpoint": endpoint.name, "backend": backend, "card": bill.gpu}
            self._write(metrics.GPU_SECONDS, bill.gpu_seconds, **labels)
            self._write(metrics.COST_USD, bill.usd, media=endpoint.output_type, **labels)
        # Stages of a chain overlap, so what is left for `queue` is a lower bound there.
        queue_s = max(seconds - sum(stage.busy_s for stage in result.stages), LEAST_S)
        self._write(metrics.STAGE_SECONDS, queue_s, model=plan.stages[0].deployment, stage="queue")
        for stage, units, done in zip(plan.stages, plan.units, result.stages, strict=False):
            model = stage.deployment
            for name, spent in done.seconds.items():
                self._write(metrics.STAGE_SECONDS, max(spent, LEAST_S), model=model, stage=name)
            self._write(metrics.WORKED_SECONDS, done.busy_s, model=model, backend=backend)
            self._write(metrics.EXPECTED_SECONDS, units * self._declared[model].seconds_per_unit, model=model, backend=backend)
            if "quality" in done.facts:
                for fault in str(done.facts["quality"]).split(";"):
                    self._write(metrics.CLIP_QUALITY, 1, model=model, found=fault.partition("=")[0])
            if "faces_swapped" in done.facts:
                swapped, frames = int(done.facts["faces_swapped"]), int(done.facts["frames"])
                self._write(metrics.FACE_FRAMES, swapped, model=model, outcome="swapped")
                self._write(metrics.FACE_FRAMES, frames - swapped, model=model, outcome="missed")
