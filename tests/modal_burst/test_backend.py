"""The client against a scripted mirror: what comes back, what is charged, and that every call ends within its bounds."""

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
import pytest_asyncio
from modal_proto.api_pb2 import GenericResult

from deployments.spec.endpoint import Plan
from modal_burst.backend import ModalBackend
from modal_burst.frames import pack_frames
from modal_burst.manifest import manifest
from modal_burst.pools import pool_of
from modal_burst.settings import BurstSettings
from modal_burst.wire import pack, unpack
from models.errors import BackendFailed, BadMedia, DeadlineExceeded, FaultKind, NoFaceFound, OutOfMemory
from models.host import Result
from models.runner import Finished, Frames, Progress
from models.task import LoraUse
from tests.modal_burst.plans import chain_plan, video_plan
from tests.modal_burst.scripted import STAGE, ScriptedMirror, done, error, up

pytestmark = pytest.mark.asyncio
BOUNDS = {"burst_request_s": 2.0, "burst_silence_s": 1.0, "burst_ping_s": 0.3, "burst_reconnect_s": 0.5}


@pytest.fixture
def mirror(cloud):
    made = ScriptedMirror()
    made.deploy(cloud, max_containers=2)
    return made


@pytest.fixture
def reports():
    return []


@pytest_asyncio.fixture
async def backend(cloud, mirror, reports):
    made = ModalBackend(BurstSettings(**BOUNDS), reports.append)
    await made.start()
    await up(made)
    yield made
    await made.close()


async def run(backend, plan=None, deadline=None):
    return [event async for event in backend.run(plan or video_plan(), deadline=deadline)]


async def until(holds, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


async def hang(payload):
    yield {"progress": pack(Progress("denoise", 1, 100))}
    await asyncio.sleep(1000)


async def pulse_for_ever(payload):
    while True:
        yield {"pulse": time.time()}
        await asyncio.sleep(0.1)


async def test_a_plan_comes_back_as_progress_and_one_result(backend, mirror, reports, cloud):
    plan = video_plan()
    before = time.time()
    assert await run(backend, plan) == [Progress("denoise", 1, 2), Result(b"first,second", "image/png", (STAGE,))]
    (payload,) = mirror.payloads
    assert payload["manifest"] == manifest("tiny")
    assert payload["deadline"] > before + pool_of(plan).longest_s
    assert unpack(Plan, payload["plan"]).stages[0].deployment == plan.stages[0].deployment
    (report,) = reports
    assert (report.kind, report.cold, report.charged_s, report.pool.key) == (None, True, 1.0, plan.stages[0].deployment)
    await run(backend, plan)
    assert not reports[1].cold
    assert reports[1].opened_s < reports[1].total_s
    assert cloud.containers[0].card == pool_of(plan).gpu


async def test_a_chain_goes_to_a_pool_of_its_own(backend, cloud):
    await run(backend, chain_plan())
    await run(backend, video_plan())
    assert len(cloud.containers) == 2
    assert {c.function.settings.max_containers for c in cloud.containers} == {BurstSettings().burst_max_containers}


async def test_large_payloads_pass_both_ways(backend, mirror):
    async def large(payload):
        for _ in range(4):
            yield {"media": b"x" * 1_500_000}
        yield done(6_000_000)

    mirror.script = large
    plan = video_plan()
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    big = Plan(stages=chain_plan().stages[1:], encoding=plan.encoding, units=(1.0,), facts={})
    object.__setattr__(big.stages[0].task, "source", noise)
    assert len((await run(backend, big))[-1].media) == 6_000_000
    assert np.array_equal(unpack(Plan, mirror.payloads[0]["plan"]).stages[0].task.source, noise)


@pytest.mark.parametrize("raised", [NoFaceFound("no face"), BadMedia("cut"), OutOfMemory("fewer frames")])
async def test_the_models_errors_are_raised_as_they_are(backend, mirror, reports, raised):
    async def fail(payload):
        yield error(raised)

    mirror.script = fail
    with pytest.raises(type(raised), match=raised.message):
        await run(backend)
    assert reports[0].kind is FaultKind.MODEL
    assert backend.fault is None


async def test_frames_of_a_first_stage(backend, mirror, reports):
    frames = Frames(np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8), np.array([0.0, 0.5]))

    async def clip(payload):
        yield {"frames": pack_frames(frames)}
        yield {"done": {"stages": pack([STAGE])}}

    mirror.script = clip
    events = [event async for event in backend.frames(video_plan().stages[0], deadline=None)]
    assert np.array_equal(events[0].pixels, frames.pixels)
    assert isinstance(events[1], Finished)
    assert reports[0].charged_s == 1.0


async def test_loras_that_containers_cannot_fetch_are_no_fault_of_the_mirror(backend, mirror, cloud, reports):
    plan = video_plan()
    task = replace(plan.stages[0].task, loras=(LoraUse("film", 1.0, "0" * 64),))
    wearing = replace(plan, stages=(replace(plan.stages[0], task=task),))
    with pytest.raises(BackendFailed, match="film") as failed:
        await run(backend, wearing)
    assert failed.value.kind is FaultKind.MODEL
    assert mirror.begun == len(reports) == 0
    remote = ModalBackend(BurstSettings(**BOUNDS, lora_root="s3://bucket/loras"))
    await remote.start()
    await up(remote)
    assert (await run(remote, wearing))[-1].media
    await remote.close()


async def test_a_caller_that_leaves_cancels_the_run(backend, mirror, reports, cloud):
    mirror.script = hang
    async with aclosing(backend.run(video_plan(), deadline=None)) as events:
        await anext(events)
    await until(lambda: mirror.stopped == 1)
    assert reports[0].kind is FaultKind.CANCELLED
    assert not cloud.containers[0].running


async def test_a_task_that_is_cancelled_cancels_the_run(backend, mirror):
    mirror.script = hang
    task = asyncio.create_task(run(backend))
    await until(lambda: mirror.begun == 1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await until(lambda: mirror.stopped == 1)


async def test_a_call_that_is_left_before_it_is_opened_is_cancelled_when_it_is(backend, mirror, cloud):
    cloud.faults.delay("FunctionCallGetDataOut", 0.5)
    mirror.script = pulse_for_ever
    task = asyncio.create_task(run(backend))
    await until(lambda: mirror.begun == 1)
    task.cancel()
    await asyncio.wait([task])
    assert mirror.stopped == 0
    await until(lambda: mirror.stopped == 1)


async def test_the_deadline_ends_a_call_here_and_there(backend, mirror, reports):
    mirror.script = pulse_for_ever
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await run(backend, deadline=time.time() + 0.5)
    assert 0.4 < time.monotonic() - began < 1.5
    await until(lambda: mirror.stopped == 1)
    assert reports[0].kind is FaultKind.DEADLINE


async def test_silence_is_bounded_and_pulses_break_it(backend, mirror, reports):
    mirror.script = hang
    began = time.monotonic()
    with pytest.raises(BackendFailed, match="said nothing") as failed:
        await run(backend)
    assert time.monotonic() - began < 3
    assert failed.value.kind is FaultKind.INFRA
    await until(lambda: mirror.stopped == 1)

    async def slow(payload):
        for _ in range(15):
            yield {"pulse": time.time()}
            await asyncio.sleep(0.1)
        yield done(0)

    mirror.script = slow
    assert (await run(backend))[-1].media == b""


async def test_waiting_for_a_container_is_bounded(backend, cloud, monkeypatch):
    monkeypatch.setattr("modal_burst.backend.START_MARGIN_S", 0.5)
    monkeypatch.setattr("modal_burst.backend.START_FACTOR", 0.0)
    cloud.faults.hang("FunctionMap")
    began = time.monotonic()
    with pytest.raises(BackendFailed, match="no container") as failed:
        await run(backend)
    assert time.monotonic() - began < 1.5
    assert failed.value.kind is FaultKind.INFRA


@pytest.mark.parametrize("retry_after_s", [None, 3.0])
async def test_throttling_is_told_at_once(backend, cloud, reports, retry_after_s):
    cloud.faults.throttle(retry_after_s=retry_after_s)
    began = time.monotonic()
    with pytest.raises(BackendFailed) as failed:
        await run(backend)
    assert time.monotonic() - began < 1
    assert failed.value.kind is reports[0].kind is FaultKind.THROTTLED
    assert failed.value.retry_after_s == retry_after_s
    cloud.faults.clear()
    assert (await run(backend))[-1].media


@pytest.mark.parametrize("status", ["INIT_FAILURE", "KERNEL_OOM_KILL", "INTERNAL_FAILURE", "TERMINATED"])
async def test_calls_that_the_platform_ends_are_its_fault(backend, cloud, reports, status):
    cloud.faults.end_calls(getattr(GenericResult, f"GENERIC_STATUS_{status}"), "why")
    with pytest.raises(BackendFailed, match="why"):
        await run(backend)
    assert reports[0].kind is FaultKind.INFRA
    assert (await run(backend))[-1].media


async def test_a_container_that_dies_under_a_call(backend, mirror, cloud):
    mirror.script = pulse_for_ever
    task = asyncio.create_task(run(backend))
    await until(lambda: mirror.begun == 1)
    cloud.kill_containers()
    with pytest.raises(BackendFailed, match="killed") as failed:
        await asyncio.wait_for(task, 5)
    assert failed.value.kind is FaultKind.INFRA
    mirror.script = ScriptedMirror.script
    assert (await run(backend))[-1].media


async def test_a_call_that_is_sent_twice_by_the_network_runs_once(backend, mirror, cloud):
    cloud.faults.lose_reply("FunctionMap", times=2)
    assert (await run(backend))[-1].media
    assert mirror.begun == 1


class Trap:
    sprung = False

    def __reduce__(self):
        return (_spring, ())


def _spring():
    Trap.sprung = True


async def test_pickles_are_never_opened(backend, cloud):
    import pickle

    cloud.faults.end_calls(GenericResult.GENERIC_STATUS_FAILURE, "crashed at start", data=pickle.dumps(Trap()))
    with pytest.raises(BackendFailed) as failed:
        await run(backend)
    assert failed.value.kind is FaultKind.INFRA
    assert not Trap.sprung


@pytest.mark.parametrize(
    "answer",
    [
        [{"surprise": 1}],
        [{"progress": {"kind": "Card"}}],
        [{"media": "text"}],
        [{"media": b"abc"}, done(4)],
        [{"done": {}}],
        ["text"],
        [{"error": {"type": "SystemExit", "args": [1]}}],
    ],
    ids=str,
)
async def test_answers_in_another_form_are_a_fault_of_the_deployment(backend, mirror, reports, answer):
    async def odd(payload):
        for item in answer:
            yield item

    mirror.script = odd
    with pytest.raises(Exception, match=r"known|must be|version"):
        await run(backend)
    assert reports[0].kind is FaultKind.CONFIG


async def test_an_answer_that_stops_in_the_middle(backend, mirror):
    async def half(payload):
        yield {"media": b"half"}

    mirror.script = half
    with pytest.raises(BackendFailed, match="ended before") as failed:
        await run(backend)
    assert failed.value.kind is FaultKind.INFRA


async def test_load_and_warmth(backend, mirror, cloud):
    pool = pool_of(video_plan())
    assert (await backend.headroom(pool)).containers == 0
    await backend.keep_warm(pool, 1)
    assert (await backend.headroom(pool)).containers == 1
    await run(backend)
    assert len(cloud.containers) == 1


async def test_many_calls_at_once_each_end_once(backend, mirror, reports):
    async def some(payload):
        await asyncio.sleep(0.01)
        async for item in ScriptedMirror.script(payload):
            yield item

    mirror.script = some
    results = await asyncio.gather(*(run(backend) for _ in range(60)))
    assert [len([e for e in events if isinstance(e, Result)]) for events in results] == [1] * 60
    assert (mirror.begun, mirror.finished, len(reports)) == (60, 60, 60)
