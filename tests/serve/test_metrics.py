import asyncio
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from deployments import deployments, endpoints
from deployments.spec.endpoint import Plan
from models.errors import BadRequest, DeadlineExceeded, OutOfMemory
from models.host import Result, RunnerHost
from models.runner import CPU, Card, Finished, Progress
from serve import metrics
from serve.call_metrics import CallMetrics
from serve.cost import Bill
from serve.estimator import HERE, Estimator
from serve.jobs import Jobs
from serve.metrics import METRICS, Declared
from serve.placement import TINY_FACTOR, dispatcher, estimator_of
from serve.replica_metrics import ReplicaMetrics
from serve.settings import Settings
from tests.serve.bursting import OneReplica
from tests.serve.outside_rig import plan_of

UNITS = ("_seconds", "_usd", "_bytes", "_usd_per_hour")
COUNTS = re.compile(
    r"ryla_(calls|objective_calls|refusals|face_refusals|outputs|face_frames|clips_judged|waiting_calls|burst_decisions|replica_up"
    r"|running_calls|cold_starts|steps|batch_size|out_of_memory|loras_found|loras_kept|lora_evictions)"
)


class Book:
    """Keeps what is written, by metric and labels."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = defaultdict(list)

    def __call__(self, metric: Declared, value: float, /, **labels: str) -> None:
        assert set(labels) == set(metric.labels), metric.name
        self.values[metric.name, tuple(sorted(labels.items()))].append(value)

    def of(self, metric: Declared, **labels: str) -> list[float]:
        return self.values[metric.name, tuple(sorted(labels.items()))]


def test_names_are_unique_and_carry_their_unit():
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.endswith(UNITS) or COUNTS.fullmatch(metric.name), f"{metric.name}: no unit in the name, and not known as a count"
        assert not {"prompt", "tenant", "job", "lora"} & set(metric.labels), metric.name
        assert list(metric.bounds) == sorted(metric.bounds), metric.name


ENDPOINT = next(e for e in endpoints().values() if len(e.deployments) == 1 and e.input_type == "text")
MODEL = ENDPOINT.deployments[0]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return ENDPOINT.plan(ENDPOINT.request.model_validate(ENDPOINT.example), 0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told() -> tuple[CallMetrics, Book, Clock]:
    book, clock = Book(), Clock()
    known = {MODEL: deployments()[MODEL]}
    return CallMetrics(known, {"L40S": 0.0005}, Estimator(known), book, clock), book, clock


def result(busy_s: float = 3.0, **facts: Any) -> Result:
    return Result(b"", "image/png", (Finished(facts, busy_s, {"denoise": 2.0, "decode": 1.0}, Card("L40S", 0.5)),))


def test_the_line_is_seen_while_a_call_waits_and_forgotten_when_it_ends(told: tuple[CallMetrics, Book, Clock], plan: Plan):
    calls, book, clock = told
    calls.accepted("1", plan)
    clock.now += 7
    calls.sample()
    assert book.of(metrics.QUEUE_AGE_SECONDS, model=MODEL) == [7.0]
    assert book.of(metrics.BACKLOG_SECONDS, model=MODEL)[-1] > 0
    calls.begun("1")
    calls.sample()
    assert book.of(metrics.QUEUE_AGE_SECONDS, model=MODEL)[-1] == 0.0
    calls.ended("1", ENDPOINT, plan, "cluster", "succeeded", result=result())
    calls.sample()
    assert book.of(metrics.BACKLOG_SECONDS, model=MODEL)[-1] == 0.0
    assert book.of(metrics.CARD_RATE_USD_PER_HOUR, card="L40S")[-1] == pytest.approx(1.8)


def test_what_runs_elsewhere_is_in_no_line_here(plan: Plan):
    book, known = Book(), deployments()
    calls = CallMetrics(known, {}, Estimator(known), book, Clock())
    chain = next(e for e in endpoints().values() if len(e.deployments) == 2)
    plans = {"1": plan_of(chain), "2": plan}
    for job, of in plans.items():
        calls.accepted(job, of)

    def line() -> set[str]:
        calls.sample()
        return {model for model in known if book.of(metrics.BACKLOG_SECONDS, model=model)[-1] > 0}

    assert line() == {*chain.deployments, MODEL}
    calls.sent("1", plans["1"], "modal+cluster")
    calls.sent("2", plan, "modal")
    assert line() == {chain.deployments[1]}
    assert book.of(metrics.WAITING, model=MODEL)[-1] == 0
    calls.sent("1", plans["1"], "cluster")  # the mirror failed it
    assert line() == set(chain.deployments)


async def test_the_backlog_is_predicted_from_what_the_dispatcher_has_learned(tmp_path: Path, plan: Plan):
    book, settings, known = Book(), Settings(database_url=f"sqlite:///{tmp_path}/jobs.db"), deployments()
    estimator = estimator_of(settings, known)
    jobs, calls = Jobs(settings.database_url), CallMetrics(known, {}, estimator, book, Clock())
    placed = dispatcher(settings, OneReplica(0.0), jobs.engine, known, estimator)

    def backlog() -> float:
        calls.accepted("1", plan)
        calls.sample()
        calls.ended("1", ENDPOINT, plan, "cluster", "cancelled")
        return book.of(metrics.BACKLOG_SECONDS, model=MODEL)[-1]

    before = backlog()
    assert before == pytest.approx(TINY_FACTOR * plan.units[0] * known[MODEL].seconds_per_unit), "the toy models take less than declared"
    for _ in range(3):
        async for _ in placed.run(plan, deadline=None, on_start=lambda *_: None):
            pass
    assert backlog() < before / 2
    assert backlog() == estimator.stages(plan, HERE)[0]


def test_a_delivered_call_tells_its_times_and_its_money(told: tuple[CallMetrics, Book, Clock], plan: Plan):
    calls, book, clock = told
    calls.accepted("1", plan)
    clock.now += 5
    calls.ended("1", ENDPOINT, plan, "cluster", "succeeded", result=result(faces_swapped=3, frames=4), bill=Bill(0.01, 1.5, "L40S"))
    assert book.of(metrics.CALLS, endpoint=ENDPOINT.name, state="succeeded", backend="cluster") == [1]
    assert book.of(metrics.STAGE_SECONDS, model=MODEL, stage="queue") == [2.0], "5 s, of which 3 s were work"
    assert book.of(metrics.STAGE_SECONDS, model=MODEL, stage="denoise") == [2.0]
    assert book.of(metrics.WORKED_SECONDS, model=MODEL, backend="cluster") == [3.0]
    assert book.of(metrics.EXPECTED_SECONDS, model=MODEL, backend="cluster") == [plan.units[0] * deployments()[MODEL].seconds_per_unit]
    assert book.of(metrics.COST_USD, endpoint=ENDPOINT.name, media=ENDPOINT.output_type, backend="cluster", card="L40S") == [0.01]
    assert book.of(metrics.FACE_FRAMES, model=MODEL, outcome="missed") == [1]


@pytest.mark.parametrize(("quality", "found"), [("ok", ["ok"]), ("blank=3;frozen", ["blank", "frozen"])])
def test_clips_are_counted_by_what_the_gates_found(told: tuple[CallMetrics, Book, Clock], plan: Plan, quality: str, found: list[str]):
    calls, book, _ = told
    calls.accepted("1", plan)
    calls.ended("1", ENDPOINT, plan, "cluster", "succeeded", result=result(quality=quality))
    kinds = ("ok", "blank", "flash", "first-frame", "frozen")
    assert [kind for kind in kinds if book.of(metrics.CLIP_QUALITY, model=MODEL, found=kind) == [1]] == found


@pytest.mark.parametrize(
    ("waited_s", "state", "error", "met"),
    [
        (1.0, "succeeded", None, "yes"),
        (1e6, "succeeded", None, "no"),
        (1.0, "failed", DeadlineExceeded("late"), "no"),
        (1.0, "failed", BadRequest("yours"), None),
        (1.0, "cancelled", None, None),
    ],
)
def test_the_objective_counts_what_is_our_doing(
    told: tuple[CallMetrics, Book, Clock], plan: Plan, waited_s: float, state: str, error: Exception | None, met: str | None
):
    calls, book, clock = told
    calls.accepted("1", plan)
    clock.now += waited_s
    calls.begun("1")
    calls.ended("1", ENDPOINT, plan, "cluster", state, error=error)
    counted = {label: book.of(metrics.OBJECTIVE, endpoint=ENDPOINT.name, met=label) for label in ("yes", "no")}
    assert counted == {label: [1] if label == met else [] for label in ("yes", "no")}
    if error is not None:
        assert book.of(metrics.REFUSALS, reason=type(error).__name__) == [1]


class Idle:
    def run(self, task: Any, call: Any) -> Any:
        raise AssertionError

    def close(self) -> None:
        pass


async def test_a_replica_tells_its_cards_time():
    book = Book()
    host = RunnerHost(Idle(), card=Card("L40S", 0.5))
    told = ReplicaMetrics("m", host, None, 0.0, book)
    with told.call() as watch:
        watch.loras({"lora_tier": "ram"})
        watch.saw(Progress("denoise", 1, 8))  # may be the only one: the host passes on what is due
        finished = Finished({"batch": 4}, 3.0, {"denoise": 2.0}, steps={"denoise": 8})
        watch.saw(finished)
    assert book.of(metrics.BUSY_SECONDS, model="m", card="L40S", outcome="done") == [1.5]
    assert book.of(metrics.STEP_SECONDS, model="m", stage="denoise") == [0.25]
    assert book.of(metrics.BATCH_SIZE, model="m") == [4.0]
    assert len(book.of(metrics.LORA_SECONDS, model="m", tier="ram")) == 1
    assert "lora" in finished.seconds, "the gateway tells it among the stages"
    host.steps["denoise"] += 8
    host.stops_s.append(0.2)
    told.sample()
    host.steps["denoise"] += 1
    told.sample()
    assert book.of(metrics.STEPS, model="m", stage="denoise") == [8, 1]
    assert book.of(metrics.STOP_SECONDS, model="m") == [0.2]
    assert all(seconds > 0 for seconds in book.of(metrics.OFFERED_SECONDS, model="m", card="L40S"))


async def test_a_stopped_call_has_cost_the_card_its_time_too():
    book = Book()
    told = ReplicaMetrics("m", RunnerHost(Idle(), card=CPU), None, 0.0, book)

    async def run() -> None:
        with told.call() as watch:
            watch.saw(Progress("denoise", 1, 8))
            await asyncio.sleep(0.02)
            raise OutOfMemory("full")

    with pytest.raises(OutOfMemory):
        await run()
    assert book.of(metrics.BUSY_SECONDS, model="m", card="CPU", outcome="stopped")[0] >= 0.02
    assert book.of(metrics.OOMS, model="m", card="CPU") == [1]
