"""SFW calls at fal: its unmodified client against a stand-in for its queue, and whatever goes wrong on the way."""

import asyncio
import io
import time

import pytest
import pytest_asyncio
from fal_client import client as fal_client
from PIL import Image as PilImage

from models.errors import BackendFailed, DeadlineExceeded, FaultKind, NoPlace, Overloaded, Refused
from serve.breaker import BreakerRules, State
from serve.budget import Caps
from serve.outside import Outside
from serve.overflow import Mode
from tests.serve.loopback_fal import KEY, loopback_fal
from tests.serve.outside_rig import endpoint_with, outside_rig, plan_of

SFW, NSFW, UNSAID = Outside(False), Outside(True), Outside(None)
PLAIN = endpoint_with(lambda e: e.fal is not None and e.comfyui is not None and e.input_type == "text")
FACE = endpoint_with(lambda e: e.fal is not None and "reference_image" in e.request.model_fields)
LORA = endpoint_with(lambda e: e.lora and e.input_type == "text")
POOL = f"fal {PLAIN.fal.id}"
USD = PLAIN.fal.usd_per_megapixel


@pytest_asyncio.fixture
async def cloud(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fal_client, "MAX_ATTEMPTS", 10)
    async with loopback_fal() as fal:
        monkeypatch.setattr(fal_client, "QUEUE_URL_FORMAT", fal.url)
        monkeypatch.setattr("serve.fal.FIRST_LOOK_S", 0.05)
        yield fal


@pytest_asyncio.fixture
async def rig(cloud, tmp_path):
    async with outside_rig(tmp_path, fal_key=KEY, rules=BreakerRules(failures=2, pause_s=0.5, setup_s=30.0)) as made:
        yield made


async def settled(rig, cloud, *, billed: int) -> None:
    """What was spent is what fal bills, to the cent, and nothing is set aside any more."""
    assert cloud.billed == billed
    assert await rig.spent() == pytest.approx(billed * USD, abs=1e-6)
    assert await rig.out(POOL) == 0


async def fails(rig, error, says: str = ".", **call):
    """A call for fal alone, which fails."""
    with pytest.raises(error, match=says) as caught:
        await rig.call(PLAIN, Outside(False, PLAIN.fal), **call)
    return caught.value


def expects(rig, seconds: float) -> None:
    """Calls of the plain endpoint are known to take this long at fal."""
    work = rig.fallbacks.of(PLAIN, plan_of(PLAIN), "a", SFW)._work
    for _ in range(40):
        rig.fallbacks.takes(work).observe(seconds)


async def test_a_late_sfw_call_goes_to_fal_and_comes_back_as_it_was_promised(rig, cloud):
    async with rig.busy(PLAIN):
        result = await rig.call(PLAIN, SFW, prompt="a red fox", output_format="webp")
    assert rig.started == [("fal", "fallback")]
    assert result.content_type == "image/webp"
    assert PilImage.open(io.BytesIO(result.media)).size == (64, 64)
    (stage,) = result.stages
    assert (stage.usd, stage.facts["model"], stage.facts["seed"], stage.card.name) == (USD, PLAIN.fal.id, 7, "fal")
    (asked,) = cloud.asked
    assert asked.model == PLAIN.fal.id
    assert asked.arguments == PLAIN.fal.arguments(PLAIN.plan(PLAIN.request(prompt="a red fox"), 7).stages[0].task)
    assert asked.headers["X-Fal-Store-IO"] == "0"
    assert 1 < float(asked.headers["X-Fal-Request-Timeout"]) <= 20
    await settled(rig, cloud, billed=1)


async def test_a_cluster_in_time_needs_no_fallback(rig, cloud):
    await rig.call(PLAIN, SFW)
    assert rig.started == [("cluster", "in-time")]
    assert cloud.submitted == 0


@pytest.mark.parametrize(("endpoint", "outside"), [(PLAIN, NSFW), (PLAIN, UNSAID), (LORA, SFW)], ids=["nsfw", "unmarked", "lora"])
async def test_nothing_else_ever_goes_to_fal(rig, cloud, endpoint, outside):
    rig.cluster.failing = [Overloaded("full", 2.0)]
    with pytest.raises(Overloaded):
        await rig.call(endpoint, outside)
    assert cloud.submitted == 0


async def test_the_caller_can_keep_a_call_from_fal(rig, cloud):
    rig.cluster.failing = [Overloaded("full", 2.0)]
    with pytest.raises(Overloaded):
        await rig.call(PLAIN, SFW, mode=Mode.NEVER)
    assert cloud.submitted == 0


async def test_a_model_without_a_place_here_is_answered_by_its_fallback(rig, cloud):
    rig.cluster.failing = [NoPlace("no card has room for it")]
    result = await rig.call(PLAIN, SFW)
    assert rig.started == [("cluster", "in-time"), ("fal", "fallback")]
    assert result.stages[0].facts["model"] == PLAIN.fal.id
    await settled(rig, cloud, billed=1)


@pytest.mark.parametrize(
    ("outside", "mode"), [(UNSAID, Mode.AUTO), (NSFW, Mode.AUTO), (SFW, Mode.NEVER)], ids=["unmarked", "nsfw", "never"]
)
async def test_one_that_nothing_may_stand_in_for_is_not_set_up(rig, cloud, outside, mode):
    rig.cluster.failing = [NoPlace("no card has room for it")]
    with pytest.raises(NoPlace, match="no card has room"):
        await rig.call(PLAIN, outside, mode=mode)
    assert cloud.submitted == 0


async def test_one_whose_fallback_is_over_budget_is_told_so_and_when_to_come_back(rig, cloud):
    rig.cluster.failing = [NoPlace("no card has room for it")]
    rig.fallbacks.budget.caps = Caps(per_call=1, per_minute=USD / 2, per_day=1, per_tenant_day=1, calls=5)
    with pytest.raises(Overloaded, match="budget-minute") as caught:
        await rig.call(PLAIN, SFW)
    assert caught.value.retry_after_s == rig.decisions[-1].retry_after_s
    assert cloud.submitted == 0


async def test_a_reference_goes_to_the_model_for_faces_with_its_picture(rig, cloud):
    rig.cluster.failing = [Overloaded("full", 2.0)]
    await rig.call(FACE, SFW)
    assert rig.started == [("cluster", "in-time"), ("fal", "fallback")]
    assert cloud.asked[0].model == FACE.fal.id
    assert cloud.asked[0].arguments["reference_image_url"].startswith("data:image/jpeg;base64,")


async def test_a_call_that_waits_here_is_moved_there(rig, cloud):
    cloud.work_s = 0.0
    async with rig.busy(PLAIN):
        rig.fallbacks.budget.caps = Caps(per_call=1, per_minute=1, per_day=1, per_tenant_day=1, calls=0)
        waiting = asyncio.create_task(rig.call(PLAIN, SFW, seconds=300.0))
        await asyncio.sleep(0.3)
        assert [name for name, _ in rig.started] == ["cluster"]
        rig.fallbacks.budget.caps = Caps(per_call=1, per_minute=1, per_day=1, per_tenant_day=1, calls=1)
        begun = rig.cluster.begun
        await asyncio.wait_for(waiting, 15)
        assert rig.started[-1] == ("fal", "fallback")
        assert rig.cluster.begun == begun
    await settled(rig, cloud, billed=1)


async def test_budgets_hold_to_the_cent_however_many_call(rig, cloud):
    rig.fallbacks.budget.caps = Caps(per_call=1, per_minute=3.5 * USD, per_day=1, per_tenant_day=1, calls=50)
    rig.cluster.failing = [Overloaded("full", 2.0)] * 12
    outcomes = await asyncio.gather(*(rig.call(PLAIN, SFW) for _ in range(12)), return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, BaseException)]
    assert all(isinstance(one, Overloaded) and one.retry_after_s >= 1 for one in refused), refused
    assert len(refused) == 9
    await settled(rig, cloud, billed=3)


async def test_a_failure_there_is_made_good_here_when_the_cluster_would_do(rig, cloud):
    cloud.refuse[0] = (500, {"detail": "Internal Server Error"})
    expects(rig, 0.5)
    async with rig.busy(PLAIN, seconds=3.0):
        assert (await rig.call(PLAIN, SFW)).media == b"here"
    assert rig.started == [("fal", "fallback"), ("cluster", "fallback-failed")]
    await settled(rig, cloud, billed=0)


async def test_a_failure_there_is_an_honest_503_when_it_would_not(rig, cloud):
    cloud.refuse[0] = (500, {"detail": "Internal Server Error"})
    rig.cluster.failing = [Overloaded("full", 2.0)]
    with pytest.raises(BackendFailed, match="fal failed"):
        await rig.call(PLAIN, SFW)
    assert [name for name, _ in rig.started] == ["cluster", "fal"]


async def test_refused_connections_open_the_breaker_and_a_probe_closes_it(rig, cloud, monkeypatch):
    monkeypatch.setattr(fal_client, "QUEUE_URL_FORMAT", "http://127.0.0.1:9/")
    for _ in range(2):
        assert rig.breaker(POOL) is State.CLOSED
        assert (await fails(rig, BackendFailed, "cannot be reached")).kind is FaultKind.INFRA
    assert rig.breaker(POOL) is State.OPEN
    await fails(rig, Overloaded, "breaker")
    monkeypatch.setattr(fal_client, "QUEUE_URL_FORMAT", cloud.url)
    while rig.breaker(POOL) is State.OPEN:
        await asyncio.sleep(0.05)
    await rig.call(PLAIN, Outside(False, PLAIN.fal))
    assert rig.breaker(POOL) is State.CLOSED
    await settled(rig, cloud, billed=1)


@pytest.mark.parametrize(
    ("status", "kind", "state"),
    [
        (401, FaultKind.CONFIG, State.OPEN),
        (403, FaultKind.CONFIG, State.OPEN),
        (404, FaultKind.CONFIG, State.OPEN),
        (429, FaultKind.THROTTLED, State.CLOSED),
        (422, FaultKind.MODEL, State.CLOSED),
        (500, FaultKind.INFRA, State.CLOSED),
        (503, FaultKind.INFRA, State.CLOSED),
    ],
)
async def test_what_fal_answers_is_a_kind_of_fault_and_costs_nothing(rig, cloud, status, kind, state):
    cloud.answer["submit"] = (status, {"detail": "secret prompt"})
    cloud.headers["Retry-After"] = "7"
    error = await fails(rig, BackendFailed, "fal")
    assert (error.kind, "secret" in error.message) == (kind, False)
    assert rig.breaker(POOL) is state
    if status == 429:
        assert error.retry_after_s == 7
    assert cloud.submitted == 1
    assert await rig.spent() == 0


async def test_throttling_holds_calls_back_for_as_long_as_it_says(rig, cloud):
    cloud.answer["submit"] = (429, {})
    cloud.headers["Retry-After"] = "7"
    await fails(rig, BackendFailed)
    error = await fails(rig, Overloaded, "breaker")
    assert 5 < error.retry_after_s <= 7
    assert cloud.submitted == 1


@pytest.mark.parametrize("body", ["<html>", "[]", '{"request_id": 7, "status": "DREAMING"}'])
@pytest.mark.parametrize("verb", ["submit", "status", "result"])
async def test_malformed_answers_are_a_fault_of_the_set_up(rig, cloud, verb, body):
    cloud.work_s = 0.0
    cloud.answer[verb] = (200, body)
    error = await fails(rig, BackendFailed)
    assert error.kind in (FaultKind.CONFIG, FaultKind.INFRA)
    assert await rig.spent() == pytest.approx(USD)  # it may have been made


async def test_a_submission_that_breaks_off_is_not_sent_twice(rig, cloud):
    cloud.cut = {"submit"}
    assert (await fails(rig, BackendFailed)).kind is FaultKind.INFRA
    assert cloud.submitted == 1
    assert await rig.spent() == pytest.approx(USD)  # nobody knows whether it was heard


@pytest.mark.parametrize("verb", ["submit", "status", "result", "file"])
async def test_no_wait_is_longer_than_its_bound(rig, cloud, verb):
    cloud.work_s, cloud.hang = 0.0, {verb}
    began = time.monotonic()
    error = await fails(rig, BackendFailed)
    assert time.monotonic() - began < 12
    assert error.kind is FaultKind.INFRA
    assert await rig.spent() == pytest.approx(USD)
    assert await rig.out(POOL) == 0


async def test_single_questions_may_go_unanswered(rig, cloud):
    cloud.work_s, cloud.cut = 0.5, {"status"}
    calling = asyncio.create_task(rig.call(PLAIN, Outside(False, PLAIN.fal)))
    await asyncio.sleep(0.3)
    cloud.cut.clear()
    assert (await calling).stages[0].usd == USD


async def test_work_past_the_deadline_is_cancelled_and_charged(rig, cloud):
    cloud.work_s = 30.0
    expects(rig, 0.1)
    await fails(rig, DeadlineExceeded, seconds=2.0)
    assert cloud.asked[0].cancelled == "IN_PROGRESS"
    assert rig.breaker(POOL) is State.CLOSED
    await settled(rig, cloud, billed=1)


async def test_work_past_what_it_is_given_is_a_fault_though_the_caller_had_time(rig, cloud):
    cloud.work_s, rig.fallbacks.longest_s = 30.0, 1.0
    assert (await fails(rig, BackendFailed, "longer than the 1 s")).kind is FaultKind.DEADLINE
    await settled(rig, cloud, billed=1)


@pytest.mark.parametrize(("queue_s", "state", "billed"), [(30.0, "IN_QUEUE", 0), (0.0, "IN_PROGRESS", 1)])
async def test_a_caller_who_leaves_takes_the_call_along(rig, cloud, queue_s, state, billed):
    cloud.queue_s, cloud.work_s = queue_s, 30.0
    calling = asyncio.create_task(rig.call(PLAIN, Outside(False, PLAIN.fal)))
    while not cloud.asked or cloud.asked[0].waited_s < 0.6:
        await asyncio.sleep(0.05)
    calling.cancel()
    await asyncio.wait([calling])
    assert cloud.asked[0].cancelled == state
    assert rig.breaker(POOL) is State.CLOSED
    await settled(rig, cloud, billed=billed)


CONTENT = (422, {"detail": [{"loc": ["body", "prompt"], "msg": "flagged", "type": "content_policy_violation", "input": "secret prompt"}]})


async def test_content_that_fal_refuses_is_refused_in_our_words(rig, cloud):
    cloud.refuse[0] = CONTENT
    error = await fails(rig, Refused, "mark it as NSFW")
    assert "secret" not in error.message
    assert rig.breaker(POOL) is State.CLOSED
    await settled(rig, cloud, billed=0)


async def test_a_picture_that_was_blacked_out_is_refused_and_charged(rig, cloud):
    cloud.blacked_out = True
    await fails(rig, Refused)
    await settled(rig, cloud, billed=1)


def strict():
    from dataclasses import replace

    return replace(PLAIN.fal, strict=True)


async def test_a_strict_model_gets_milder_words_once(rig, cloud):
    cloud.refuse[0] = CONTENT
    await rig.call(PLAIN, Outside(False, strict()), prompt="a woman in a bikini on a beach")
    assert [one.arguments["prompt"] for one in cloud.asked] == ["a woman in a bikini on a beach", "a woman in a on a beach"]
    await settled(rig, cloud, billed=1)
    cloud.refuse = {2: CONTENT, 3: CONTENT}
    with pytest.raises(Refused):
        await rig.call(PLAIN, Outside(False, strict()), prompt="a woman in a bikini on a beach")
    assert len(cloud.asked) == 4


async def test_a_strict_model_is_not_asked_twice_in_the_same_words(rig, cloud):
    cloud.refuse[0] = CONTENT
    with pytest.raises(Refused):
        await rig.call(PLAIN, Outside(False, strict()), prompt="a red fox")
    assert len(cloud.asked) == 1


@pytest.mark.parametrize("link", ["http://169.254.169.254/latest", "file:///etc/passwd", "http://10.0.0.1/x.png", "no link", ""])
async def test_results_are_fetched_from_public_addresses_alone(rig, cloud, link):
    cloud.link = link or None
    cloud.picture = b"" if not link else cloud.picture
    error = await fails(rig, BackendFailed, "picture cannot be used")
    assert error.kind is FaultKind.INFRA
    await settled(rig, cloud, billed=1)


async def test_a_result_that_is_no_picture_is_a_fault(rig, cloud):
    cloud.picture = b"<html>" + bytes(500)
    await fails(rig, BackendFailed, "picture cannot be used")


async def test_the_key_is_sent_to_fal_alone(rig, cloud, caplog):
    caplog.set_level("DEBUG")
    await rig.call(PLAIN, Outside(False, PLAIN.fal), prompt="a secret prompt")
    assert KEY not in caplog.text
    assert "secret" not in caplog.text
    assert KEY not in repr(rig.fallbacks._backends["fal"].__dict__["_client"])
