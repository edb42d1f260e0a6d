"""Every metric of the system, declared once. Exported through Ray, so that replicas on many nodes are scraped alike.

Names carry their unit; Prometheus sees them with `ray_` in front, counters with `_total` behind. Labels are few and bounded: model (a
deployment's name), endpoint, backend, card, stage, and words from a closed list. Never a prompt, a tenant, a LoRA or a job.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, Protocol

from ray.util.metrics import Counter, Gauge, Histogram

log = logging.getLogger("ryla.metrics")

Kind = Literal["counter", "gauge", "histogram"]
SAMPLE_S: Final = 5.0
LATENCY_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 240, 480, 900)
SHORT_S: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30)


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric: its kind, its name in our code, what it tells, its labels, and a histogram's bucket bounds."""

    kind: Kind
    name: str
    tells: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()

    @property
    def exported(self) -> tuple[str, ...]:
        """The names that Prometheus sees."""
        if self.kind == "histogram":
            return tuple(f"ray_{self.name}_{part}" for part in ("bucket", "count", "added_total"))
        return (f"ray_{self.name}_total" if self.kind == "counter" else f"ray_{self.name}",)


def _counter(name: str, tells: str, *labels: str) -> Declared:
    return Declared("counter", name, tells, labels)


def _gauge(name: str, tells: str, *labels: str) -> Declared:
    return Declared("gauge", name, tells, labels)


def _histogram(name: str, tells: str, bounds: tuple[float, ...], *labels: str) -> Declared:
    return Declared("histogram", name, tells, labels, bounds)


# Recorded by the gateway (serve/call_metrics.py).
CALLS = _counter("ryla_calls", "Calls that ended, by state.", "endpoint", "state", "backend")
CALL_SECONDS = _histogram("ryla_call_seconds", "From acceptance to outcome.", LATENCY_S, "endpoint", "backend")
OBJECTIVE = _counter("ryla_objective_calls", "Calls the objective counts, and whether it was met.", "endpoint", "met")
REFUSALS = _counter("ryla_refusals", "Calls without a result, by the class of the error.", "reason")
STAGE_SECONDS = _histogram("ryla_stage_seconds", "Time of a call by stage; `queue` is what no stage explains.", LATENCY_S, "model", "stage")
WORKED_SECONDS = _counter("ryla_worked_seconds", "Seconds replicas worked on calls that succeeded.", "model", "backend")
EXPECTED_SECONDS = _counter("ryla_expected_seconds", "Seconds those calls were declared to take on a card.", "model", "backend")
OUTPUTS = _counter("ryla_outputs", "Pictures and clips delivered.", "endpoint", "media", "backend")
GPU_SECONDS = _counter("ryla_gpu_seconds", "Whole-card seconds billed.", "endpoint", "backend", "card")
COST_USD = _counter("ryla_cost_usd", "Cost of calls, in USD.", "endpoint", "media", "backend", "card")
FACE_FRAMES = _counter("ryla_face_frames", "Frames by what the face swap did: swapped or missed.", "model", "outcome")
FACE_REFUSALS = _counter("ryla_face_refusals", "Face swaps refused by the safety rules, by rule.", "rule")
CLIP_QUALITY = _counter("ryla_clips_judged", "Clips by what the quality gates found: ok, or each kind of fault.", "model", "found")
QUEUE_AGE_SECONDS = _gauge("ryla_queue_age_seconds", "Age of the oldest call that no replica has begun.", "model")
WAITING = _gauge("ryla_waiting_calls", "Calls that no replica has begun.", "model")
BACKLOG_SECONDS = _gauge("ryla_backlog_seconds", "Predicted seconds of work accepted and not finished.", "model")
CARD_RATE_USD_PER_HOUR = _gauge("ryla_card_rate_usd_per_hour", "What an hour of a whole card costs.", "card")
BURST_CALLS = _counter("ryla_burst_decisions", "Where calls were sent, and why.", "route", "reason")
BURST_CAP_USD = _gauge("ryla_burst_cap_usd", "What bursts may cost in a period: minute or day.", "period")

# Recorded by replicas (serve/replica_metrics.py).
OFFERED_SECONDS = _counter("ryla_offered_gpu_seconds", "Whole-card seconds held by a loaded replica.", "model", "card")
BUSY_SECONDS = _counter("ryla_busy_gpu_seconds", "Whole-card seconds worked, on calls done or stopped.", "model", "card", "outcome")
REPLICAS = _gauge("ryla_replica_up", "1 for each replica that is loaded.", "model", "card")
RUNNING = _gauge("ryla_running_calls", "Calls a replica works on.", "model")
COLD_STARTS = _counter("ryla_cold_starts", "Replicas started.", "model")
LOAD_SECONDS = _histogram("ryla_load_seconds", "From a replica's start to its first readiness.", LATENCY_S, "model")
STEPS = _counter("ryla_steps", "Steps taken.", "model", "stage")
STEP_SECONDS = _histogram("ryla_step_seconds", "Mean time of a step of a call.", SHORT_S, "model", "stage")
BATCH_SIZE = _histogram("ryla_batch_size", "Calls that shared a run.", (1, 2, 3, 4, 6, 8, 12, 16), "model")
STOP_SECONDS = _histogram("ryla_stop_seconds", "From a cancel to a free card.", SHORT_S, "model")
OOMS = _counter("ryla_out_of_memory", "Runs that ran out of the card's memory.", "model", "card")
VRAM_BYTES = _gauge("ryla_vram_bytes", "Memory of a card: a replica's allocated, reserved and share; card_free.", "model", "kind")
RSS_BYTES = _gauge("ryla_replica_rss_bytes", "Main memory of a replica's process.", "model")
LORAS_FOUND = _counter("ryla_loras_found", "LoRAs asked for, by the tier they were found in.", "model", "tier")
LORA_SECONDS = _histogram("ryla_lora_seconds", "From asking for a call's LoRAs to having them in memory.", SHORT_S, "model", "tier")
LORAS_KEPT = _gauge("ryla_loras_kept", "LoRAs in a replica's memory.", "model")
LORA_EVICTIONS = _counter("ryla_lora_evictions", "LoRAs dropped from a replica's memory.", "model")

METRICS: Final[tuple[Declared, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Declared))


class Record(Protocol):
    """Writes one value of a metric."""

    def __call__(self, metric: Declared, value: float, /, **labels: str) -> None:
        """Add to a counter, set a gauge, or observe into a histogram."""
        ...


def record(metric: Declared, value: float, /, **labels: str) -> None:
    """Write to Ray's metrics; a counter is left alone by what is not above zero."""
    if metric.kind == "counter":
        if value > 0:
            _instrument(metric).inc(value, labels)
    elif metric.kind == "gauge":
        _instrument(metric).set(value, labels)
    else:
        _instrument(metric).observe(value, labels)
        record(_added(metric), value, **labels)


@cache
def _added(metric: Declared) -> Declared:
    """The exact sum of a histogram: Ray's own is made from the middles of the buckets."""
    return _counter(f"{metric.name}_added", f"Sum of {metric.name}.", *metric.labels)


@cache
def _instrument(metric: Declared) -> Any:
    if metric.kind == "histogram":
        return Histogram(metric.name, metric.tells, list(metric.bounds), metric.labels)
    return (Counter if metric.kind == "counter" else Gauge)(metric.name, metric.tells, metric.labels)


def every(seconds: float, work: Callable[[], None]) -> None:
    """Do `work` again and again in a thread of its own, which ends with the process; an error is logged and the next turn comes."""

    def loop() -> None:
        pause = threading.Event()
        while not pause.wait(seconds):
            try:
                work()
            except Exception:
                log.exception("metrics could not be sampled")

    threading.Thread(target=loop, name="metrics", daemon=True).start()
