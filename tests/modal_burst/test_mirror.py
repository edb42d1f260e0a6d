"""What a container of the mirror says, with real runners and without Modal."""

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace

import pytest

from deployments import deployments, endpoints
from deployments.spec.endpoint import Plan, Stage
from modal_burst.faults import unpack_error
from modal_burst.frames import unpack_frames
from modal_burst.manifest import manifest
from modal_burst.meter import Meter
from modal_burst.mirror import PART_BYTES, Ids, Mirror, share_out, with_pulse
from modal_burst.pools import pool, pool_of, pools
from modal_burst.settings import MirrorSettings
from modal_burst.wire import pack, unpack
from models.errors import BackendFailed, Cancelled, DeadlineExceeded, FaultKind, NotConfigured, NotFound, OutOfMemory
from models.host import RunnerHost
from models.lora.files import LoraFiles
from models.media import Encoding, Limits, probe
from models.runner import Card, Finished, Progress
from models.task import TextToImage
from models.tiny import TinyStore
from models.weights import Loading
from tests.modal_burst.plans import chain_plan, video_plan
from tests.models.lora import making

pytestmark = pytest.mark.asyncio
IDS = Ids("fc-1", "ta-1")
LIMITS = Limits(max_bytes=10**8, max_pixels=10**6, max_frames=100, max_seconds=100)


@pytest.fixture(scope="module")
def settings(tiny_root, tmp_path_factory):
    root = tmp_path_factory.mktemp("mirror")
    (root / "tiny").symlink_to(tiny_root)
    return MirrorSettings(profile="tiny", weights_root=root)


@pytest.fixture(scope="module")
def mirror(settings):
    made = Mirror(pool_of(video_plan()).key, settings)
    yield made
    made.close()


def payload(plan, **changes):
    return {"manifest": manifest("tiny"), "deadline": None, "plan": pack(plan)} | changes


async def items_of(answer):
    return [item async for item in answer]


async def test_a_plan_is_answered_with_its_media_to_the_byte(mirror, settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("models.host.PROGRESS_EVERY_S", 0.0)  # the toy is done before its first message is due
    plan = video_plan()
    items = await items_of(mirror.produce(payload(plan), IDS))
    assert items[0]["opened"].pop("idle_s") >= 0
    assert items[0] == {"opened": {"call": "fc-1", "container": "ta-1", "earlier_calls": 0}}
    assert [key for item in items for key in item][-2:] == ["media", "done"]
    stages = {unpack(Progress, item["progress"]).stage for item in items if "progress" in item}
    assert {"denoise", "decode"} <= stages

    declared = deployments()[plan.stages[0].deployment]
    files = {role: TinyStore(settings.weights_root / "tiny").folder(checkpoint) for role, checkpoint in declared.weights.items()}
    host = RunnerHost(declared.runner(Loading(files)))
    here = [event async for event in host.produce(plan.stages[0].task, plan.encoding)][-1]
    host.close()
    assert b"".join(item["media"] for item in items if "media" in item) == here.media


async def test_large_media_comes_in_parts_that_fit_a_message(mirror, monkeypatch):
    monkeypatch.setattr("modal_burst.mirror.PART_BYTES", 1000)
    items = await items_of(mirror.produce(payload(video_plan()), IDS))
    parts = [item["media"] for item in items if "media" in item]
    assert len(parts) > 2
    assert max(map(len, parts)) == 1000
    assert items[-1]["done"]["bytes"] == sum(map(len, parts))
    assert PART_BYTES < 2 * 1024**2


async def test_the_call_is_charged_for_the_card_it_had_to_itself(mirror):
    plan = video_plan()
    began = time.perf_counter()
    items = await items_of(mirror.produce(payload(plan), IDS))
    wall = time.perf_counter() - began
    (stage,) = unpack(tuple[Finished, ...], items[-1]["done"]["stages"])
    assert stage.card.name == pool_of(plan).gpu
    assert 0.9 * wall <= stage.busy_s * stage.card.share <= wall


async def test_frames_cross_without_loss(mirror):
    stage = video_plan().stages[0]
    items = await items_of(mirror.frames({"manifest": manifest("tiny"), "deadline": None, "stage": pack(stage)}, IDS))
    clip = [unpack_frames(item["frames"]) for item in items if "frames" in item]
    assert sum(len(frames.pixels) for frames in clip) == 5
    assert unpack(tuple[Finished, ...], items[-1]["done"]["stages"])[0].busy_s > 0


@pytest.mark.slow
async def test_a_chain_runs_in_one_container(settings):
    plan = chain_plan()
    mirror = Mirror(pool_of(plan).key, settings)
    items = await items_of(mirror.produce(payload(plan), IDS))
    mirror.close()
    assert "done" in items[-1], items[-1]
    info = probe(b"".join(item["media"] for item in items if "media" in item), "clip", LIMITS)
    assert (info.width, info.height) == (128, 128)
    stages = unpack(tuple[Finished, ...], items[-1]["done"]["stages"])
    assert len(stages) == 2
    assert stages[0].card.share == stages[1].card.share <= 1


@pytest.mark.slow
async def test_loras_are_worn_as_on_the_cluster(settings, tmp_path):
    painters = {name for e in endpoints().values() if e.lora and "text-to-image" in e.capabilities for name in e.deployments}
    declared = min((deployments()[name] for name in painters if deployments()[name].burst), key=lambda d: d.gpu.vram_gb)
    there = settings.model_copy(update={"lora_root": f"file://{tmp_path}/loras"})
    mirror = Mirror(declared.name, there)
    (model,) = mirror._models.values()
    file = making.save(making.peft(making.attention(model.loras.base.layers)), tmp_path / "film.safetensors")
    use = making.registered(LoraFiles(there.lora_root, tmp_path, 0), file, "film")

    def plan(*loras):
        task = TextToImage(seed=7, prompt="a lighthouse", width=128, height=128, steps=2, guidance=3.5, loras=loras)
        return Plan(stages=(Stage(declared.name, task),), encoding=Encoding(format="png"), units=(1.0,))

    async def media(*loras):
        items = await items_of(mirror.produce(payload(plan(*loras)), IDS))
        assert "done" in items[-1], items[-1]
        (stage,) = unpack(tuple[Finished, ...], items[-1]["done"]["stages"])
        return b"".join(item["media"] for item in items if "media" in item), stage.facts

    plain, _ = await media()
    worn, facts = await media(use)
    assert worn != plain
    assert facts["lora_tier"] == "disk"
    assert (await media())[0] == plain
    here = [event async for event in model.host.produce(plan(use).stages[0].task, Encoding(format="png"))][-1]
    assert here.media == worn
    assert isinstance(await refusal(mirror.produce(payload(plan(replace(use, sha256="0" * 64))), IDS)), NotFound)
    mirror.close()


async def test_closing_stops_the_run_within_a_step(mirror):
    plan = video_plan(steps=100)
    async with aclosing(mirror.produce(payload(plan), IDS)) as items:
        async for item in items:
            if "progress" in item and unpack(Progress, item["progress"]).stage == "denoise":
                break
        began = time.monotonic()
    assert time.monotonic() - began < 1
    assert (await items_of(mirror.produce(payload(video_plan()), IDS)))[-1].keys() == {"done"}


async def test_a_cancelled_task_stops_the_run_too(mirror):
    async def run():
        await items_of(mirror.produce(payload(video_plan(steps=100)), IDS))

    task = asyncio.create_task(run())
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any(model.host.running for model in mirror._models.values())


async def refusal(answer):
    items = await items_of(answer)
    assert [key for item in items for key in item] == ["opened", "error"]
    return unpack_error(items[1]["error"])


async def test_late_and_foreign_calls_are_not_begun(mirror):
    late = await refusal(mirror.produce(payload(video_plan(), deadline=time.time() - 1), IDS))
    assert isinstance(late, DeadlineExceeded)
    other = await refusal(mirror.produce(payload(video_plan(), manifest="0" * 32), IDS))
    assert isinstance(other, BackendFailed)
    assert other.kind is FaultKind.CONFIG
    assert isinstance(await refusal(mirror.produce(payload(chain_plan()), IDS)), NotConfigured)
    assert isinstance(await refusal(mirror.produce({"manifest": manifest("tiny")}, IDS)), NotConfigured)


async def test_a_deadline_that_passes_stops_the_run(mirror):
    began = time.monotonic()
    items = await items_of(mirror.produce(payload(video_plan(steps=100), deadline=time.time() + 0.3), IDS))
    assert isinstance(unpack_error(items[-1]["error"]), DeadlineExceeded)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("error", "sick"), [(OutOfMemory("too large", 3), True), (Cancelled("stop"), False), (ZeroDivisionError("oops"), False)]
)
async def test_errors_of_a_run_are_data(settings, monkeypatch, error, sick):
    mirror = Mirror(pool_of(video_plan()).key, settings)

    def fail(task, call):
        raise error
        yield

    monkeypatch.setattr(next(iter(mirror._models.values())).host.runner, "run", fail)
    back = await refusal(mirror.produce(payload(video_plan()), IDS))
    assert mirror.sick is sick
    if isinstance(error, ZeroDivisionError):
        assert "oops" not in str(back)
        assert back.kind is FaultKind.INFRA
    else:
        assert (type(back), back.args) == (type(error), error.args)
    mirror.close()


async def test_silence_is_filled_with_pulses():
    async def slow():
        yield 1
        await asyncio.sleep(0.25)
        yield 2

    seen = [item async for item in with_pulse(slow(), 0.1)]
    assert seen == [1, None, None, 2]


async def test_a_pulse_generator_that_is_closed_closes_its_source():
    closed = asyncio.Event()

    async def endless():
        try:
            await asyncio.sleep(1000)
            yield 1
        finally:
            closed.set()

    async with aclosing(with_pulse(endless(), 0.01)) as items:
        await anext(items)
    assert closed.is_set()


async def test_shared_time_is_split_and_adds_up():
    now = [0.0]
    meter = Meter(lambda: now[0])
    with meter.call() as first:
        now[0] = 4.0
        with meter.call() as second:
            now[0] = 10.0
            assert (first(), second()) == (7.0, 3.0)
        now[0] = 12.0
        assert (first(), second()) == (9.0, 3.0)


async def test_stages_cost_what_the_container_charged():
    stages = share_out([Finished({}, 3.0, {}, Card("L40S")), Finished({}, 5.0, {}, Card("L40S"))], 4.0)
    assert sum(stage.busy_s * stage.card.share for stage in stages) == pytest.approx(4.0)
    assert share_out([Finished({}, 0.0)], 1.0)[0].card.share == 0.0


async def test_every_endpoint_whose_deployments_burst_has_a_pool():
    assert pool_of(chain_plan()).key in pools()
    assert pool_of(video_plan()).key in pools()
    with pytest.raises(NotConfigured, match="not mirrored"):
        pool(("nobody",))
