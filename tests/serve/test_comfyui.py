"""NSFW calls on the legacy pod, over its HTTP API and websocket, and whatever goes wrong on the way."""

import asyncio
import io
import time

import pytest
import pytest_asyncio
from PIL import Image as PilImage

from models.errors import BackendFailed, FaultKind, Overloaded
from models.runner import Progress
from serve.breaker import BreakerRules, State
from serve.comfyui_line import Pod
from serve.fallbacks import Tally
from serve.outside import Outside
from tests.serve.loopback_comfyui import TOKEN, loopback_comfyui
from tests.serve.outside_rig import RATES, endpoint_with, outside_rig, plan_of

SFW, NSFW, UNSAID = Outside(False), Outside(True), Outside(None)
PLAIN = endpoint_with(lambda e: e.comfyui is not None and e.fal is not None and e.input_type == "text")
ADULT = endpoint_with(lambda e: e.always_nsfw)
FACE = endpoint_with(lambda e: e.comfyui is not None and "reference_image" in e.request.model_fields)
POOL = f"comfyui {PLAIN.comfyui.kind}"
RATE = RATES["L40S"]


@pytest_asyncio.fixture
async def pod():
    async with loopback_comfyui() as made:
        yield made


@pytest_asyncio.fixture
async def rig(pod, tmp_path):
    async with outside_rig(
        tmp_path, comfyui_url=pod.url, comfyui_token=TOKEN, rules=BreakerRules(failures=2, pause_s=0.5, setup_s=30.0)
    ) as made:
        yield made


async def nsfw(rig, endpoint=PLAIN, outside=NSFW, **call):
    """A call that the full cluster sends away."""
    rig.cluster.failing = [Overloaded("full", 2.0)]
    return await rig.call(endpoint, outside, **call)


async def fails(rig, error=BackendFailed, says: str = ".", **call):
    with pytest.raises(error, match=says) as caught:
        await nsfw(rig, **call)
    assert await rig.out(POOL) == 0
    return caught.value


async def running(pod, *calls) -> None:
    while pod.running is None:
        assert not any(call.done() for call in calls), calls
        await asyncio.sleep(0.01)


async def test_an_nsfw_call_runs_on_the_pod_and_comes_back_as_it_was_promised(rig, pod):
    result = await nsfw(rig, prompt="a red fox", output_format="jpeg")
    assert rig.started == [("cluster", "in-time"), ("comfyui", "fallback")]
    assert result.content_type == "image/jpeg"
    assert PilImage.open(io.BytesIO(result.media)).size == (64, 64)
    (graph,) = pod.graphs
    assert graph.graph == PLAIN.comfyui.graph(plan_of(PLAIN, prompt="a red fox").stages[0].task, [])
    (stage,) = result.stages
    assert (stage.card.name, stage.facts["model"]) == ("L40S", POOL)
    assert 0.15 < stage.busy_s < 10
    assert await rig.spent() == pytest.approx(stage.busy_s * RATE, abs=2e-6)
    assert await rig.out(POOL) == 0
    assert pod.deleted == [graph.id]
    assert pod.history == {}


async def test_progress_comes_over_the_websocket(rig, pod):
    plan = plan_of(PLAIN)
    work = rig.fallbacks.of(PLAIN, plan, "a", NSFW)._work
    backend = rig.fallbacks._backends["comfyui"]
    events = [event async for event in backend.run(plan, work, deadline=time.time() + 20, tally=Tally())]
    assert events[:-1] == [Progress("comfyui", 0, 1), *(Progress("denoise", step, 4) for step in (1, 2, 3, 4))]


@pytest.mark.parametrize(("endpoint", "outside"), [(PLAIN, SFW), (PLAIN, UNSAID)], ids=["sfw", "unmarked"])
async def test_nothing_else_goes_to_the_pod(rig, pod, endpoint, outside):
    with pytest.raises(Overloaded):
        await nsfw(rig, endpoint, outside)
    assert pod.graphs == []


@pytest.mark.parametrize("outside", [SFW, UNSAID, NSFW])
async def test_what_is_always_nsfw_does_whatever_it_says(rig, pod, outside):
    await nsfw(rig, ADULT, outside)
    assert len(pod.graphs) == 1


async def test_a_face_goes_along_to_the_temporary_folder(rig, pod):
    await nsfw(rig, FACE)
    ((name, data),) = pod.uploads.items()
    assert PilImage.open(io.BytesIO(data)).size == (192, 192)
    loaded = [node["inputs"]["image"] for node in pod.graphs[0].graph.values() if node["class_type"] == "LoadImage"]
    assert loaded == [f"{name} [temp]"]


@pytest.mark.parametrize("silent", ["deaf", "lost"])
async def test_without_its_websocket_the_history_tells(rig, pod, silent):
    pod.deaf = silent == "deaf"
    calling = asyncio.create_task(nsfw(rig))
    if silent == "lost":
        await running(pod, calling)
        await pod.hang_up()
    assert (await calling).content_type == "image/png"


async def test_refused_connections_open_the_breaker(rig, pod):
    rig.fallbacks._backends["comfyui"]._pod = Pod("http://127.0.0.1:9", None, request_s=1.0)
    for _ in range(2):
        assert rig.breaker(POOL) is State.CLOSED
        assert (await fails(rig, says="does not answer")).kind is FaultKind.INFRA
    assert rig.breaker(POOL) is State.OPEN
    with pytest.raises(Overloaded):
        await nsfw(rig)
    assert await rig.spent() == 0


async def test_a_wrong_token_opens_it_at_once(rig, pod):
    rig.fallbacks._backends["comfyui"]._pod = Pod(pod.url, "wrong", request_s=1.0)
    assert (await fails(rig, says="refuses our token")).kind is FaultKind.CONFIG
    assert rig.breaker(POOL) is State.OPEN


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/prompt", 400, FaultKind.CONFIG),
        ("/prompt", 500, FaultKind.INFRA),
        ("/prompt", 429, FaultKind.THROTTLED),
        ("/view", 404, FaultKind.CONFIG),
        ("/ws", 503, FaultKind.INFRA),
    ],
)
async def test_what_the_pod_answers_is_a_kind_of_fault(rig, pod, path, status, kind):
    pod.answer[path] = (status, '{"error": "secret prompt"}')
    error = await fails(rig)
    assert (error.kind, "secret" in error.message) == (kind, False)


@pytest.mark.parametrize("body", ["<html>", "[]", '{"prompt_id": 7}'])
async def test_malformed_answers_are_a_fault_of_the_set_up(rig, pod, body):
    pod.answer["/prompt"] = (200, body)
    assert (await fails(rig, says="not known")).kind is FaultKind.CONFIG


@pytest.mark.parametrize("outputs", [{}, {"9": {"text": ["x"]}}, {"9": {"images": []}}, {"9": {"images": [{"filename": 7}]}}])
async def test_a_graph_that_ends_without_a_picture_is_one_too(rig, pod, outputs):
    pod.outputs = outputs
    assert (await fails(rig, says="without a picture")).kind is FaultKind.CONFIG


async def test_a_result_that_is_no_picture_is_a_fault(rig, pod):
    pod.picture = b"<html>" + bytes(500)
    assert (await fails(rig, says="picture cannot be used")).kind is FaultKind.INFRA


FAILURES = {
    "out of memory": (("execution_error", {"exception_type": "torch.OutOfMemoryError", "node_type": "KSampler"}), FaultKind.INFRA),
    "an exception": (
        ("execution_error", {"exception_type": "ValueError", "exception_message": "secret prompt", "node_type": "KSampler"}),
        FaultKind.MODEL,
    ),
    "interrupted by somebody": (("execution_interrupted", {}), FaultKind.INFRA),
}


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize("name", FAILURES)
async def test_a_run_that_fails_is_told_without_the_pods_words(rig, pod, name, deaf):
    pod.ends, kind = FAILURES[name]
    pod.deaf = deaf
    error = await fails(rig)
    assert (error.kind, "secret" in error.message) == (kind, False)
    assert 0 < await rig.spent() < 20 * RATE
    assert pod.deleted == [pod.graphs[0].id]


@pytest.mark.parametrize("path", ["/ws", "/prompt", "/view"])
async def test_no_wait_is_longer_than_its_bound(rig, pod, path):
    pod.hang = {path}
    began = time.monotonic()
    assert (await fails(rig, says="does not answer")).kind is FaultKind.INFRA
    assert time.monotonic() - began < 12


async def test_a_pod_that_dies_in_the_middle_is_noticed(rig, pod):
    pod.step_s = 5.0
    calling = asyncio.create_task(fails(rig, says="does not answer"))
    await running(pod, calling)
    pod.cut = {"/history", "/queue", "/interrupt"}
    await pod.hang_up()
    assert (await calling).kind is FaultKind.INFRA


async def test_work_past_its_time_is_interrupted_and_charged(rig, pod):
    pod.step_s, rig.fallbacks.longest_s = 10.0, 1.5
    assert (await fails(rig, says="longer than")).kind is FaultKind.DEADLINE
    assert pod.interrupted == [pod.graphs[0].id]
    assert 0 < await rig.spent() <= 20 * RATE


@pytest.mark.parametrize("state", ["waits", "runs"])
async def test_a_caller_who_leaves_takes_the_call_along_and_nobody_elses(rig, pod, state):
    pod.step_s = 5.0
    calls = [asyncio.create_task(nsfw(rig))]
    await running(pod, *calls)
    calls.append(asyncio.create_task(nsfw(rig)))
    while len(pod.graphs) < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    leaving = calls[1 if state == "waits" else 0]
    leaving.cancel()
    await asyncio.wait([leaving])
    first, second = (one.id for one in pod.graphs)
    assert (pod.unqueued, pod.interrupted) == (([second], []) if state == "waits" else ([], [first]))
    assert rig.breaker(POOL) is State.CLOSED
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert await rig.out(POOL) == 0


async def test_the_token_is_in_no_log(rig, pod, caplog):
    caplog.set_level("INFO")
    await nsfw(rig, prompt="a secret prompt")
    assert TOKEN not in caplog.text
    assert "secret" not in caplog.text
