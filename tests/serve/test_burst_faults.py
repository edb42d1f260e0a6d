"""What goes wrong on the way to the mirror: each call ends once and in bounds, the breaker is in the right state, the money is settled."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from grpclib import Status
from modal_proto.api_pb2 import GenericResult

from models.errors import DeadlineExceeded, NoFaceFound, OutOfMemory, Overloaded
from serve.breaker import BreakerRules, State
from serve.budget import Caps
from serve.overflow import Mode
from tests.modal_burst.loopback.server import TOKEN_ID, LoopbackModal
from tests.modal_burst.scripted import error
from tests.serve.bursting import BOUNDS, RATE, plan_of, rig_of, working

pytestmark = pytest.mark.asyncio
CENT = 0.01


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch):
    with LoopbackModal() as modal:
        for key, value in (modal.env | BOUNDS).items():
            monkeypatch.setenv(key, value)
        yield modal


@pytest_asyncio.fixture
async def rig(cloud, tmp_path):
    async with rig_of(cloud, tmp_path) as made:
        yield made


async def settled(rig):
    """Nothing is set aside any more, and what was spent is what the calls have cost."""
    assert await rig.out() == 0
    assert await rig.spent() == pytest.approx(rig.settled(), abs=2e-6 * max(1, len(rig.reports)))


async def falls_back(rig, within_s: float) -> None:
    """A call that bursts because the cluster is busy fails there, and is answered here, once."""
    async with rig.busy(3.0):
        began, finished = time.monotonic(), rig.cluster.finished
        assert await rig.call() == b"here"
        assert time.monotonic() - began < within_s + 3.5
    assert [name for name, _ in rig.started] == ["modal", "cluster"]
    assert rig.started[1][1] == "mirror-failed"
    assert rig.cluster.finished == finished + 2
    assert all(report.kind is not None for report in rig.reports)
    await settled(rig)


async def until(holds, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


async def test_refused(rig):
    rig.bursts.outgoing.rules = BreakerRules(pause_s=5.0)
    rig.mirror.script = working(30.0)
    breaking = asyncio.create_task(falls_back(rig, 5))
    await until(lambda: rig.mirror.begun == 1)
    rig.cloud.refuse()
    await breaking
    for _ in range(2):
        assert rig.breaker is State.CLOSED
        await falls_back(rig, 5)
    assert rig.breaker is State.OPEN
    rig.cloud.heal()
    rig.mirror.script = working(0.3)
    await until(lambda: rig.breaker is State.HALF_OPEN, 10)
    async with rig.busy():
        assert await rig.call() == b"there"
    assert rig.breaker is State.CLOSED
    await settled(rig)


async def test_black_holed(rig):
    rig.mirror.script = working(30.0)
    breaking = asyncio.create_task(falls_back(rig, 5))
    await until(lambda: rig.mirror.begun == 1)
    rig.cloud.black_hole()
    await breaking
    rig.cloud.heal()


async def test_killed_in_the_middle_again_and_again(rig):
    rig.mirror.script = working(30.0)
    for kills in range(1, 4):
        assert rig.breaker is State.CLOSED
        breaking = asyncio.create_task(falls_back(rig, 5))
        await until(lambda wanted=kills: rig.mirror.begun == wanted)
        rig.cloud.kill_containers()
        await breaking
    assert rig.breaker is State.OPEN
    async with rig.busy(1.0):
        assert await rig.call() == b"here"
    assert rig.decisions[-1].reason == "breaker"


async def test_throttled(rig):
    rig.cloud.faults.throttle(retry_after_s=7.0)
    await falls_back(rig, 1)
    assert rig.breaker is State.CLOSED
    async with rig.busy(2.5):
        assert await rig.call() == b"here"
    assert rig.decisions[-1].reason == "breaker"  # it was told when to come back
    rig.cloud.faults.clear()
    await asyncio.sleep(2.0)
    async with rig.busy():
        assert await rig.call() == b"there"


async def test_a_token_that_is_no_longer_good(rig):
    rig.cloud.faults.tokens[TOKEN_ID] = "another"
    await falls_back(rig, 1)
    assert rig.breaker is State.OPEN
    assert await rig.spent() == 0


async def test_a_class_that_is_gone(rig):
    rig.cloud.faults.fail("FunctionMap", Status.NOT_FOUND, "no such function")
    await falls_back(rig, 1)
    assert rig.breaker is State.OPEN
    assert await rig.spent() == 0


@pytest.mark.parametrize(("deploy", "version"), [(False, None), (True, "another")])
async def test_nothing_or_another_version_is_deployed(cloud, tmp_path, deploy, version):
    async with rig_of(cloud, tmp_path, deploy=False, wait=False) as rig:
        if deploy:
            rig.mirror.deploy(cloud, version=version)
        with pytest.raises(Overloaded) as refused:
            await rig.call(mode=Mode.FORCE)
        assert rig.decisions[-1].reason == "unreachable"
        assert "unreachable" in refused.value.message
        async with rig.busy(1.0):
            assert await rig.call() == b"here"
        assert (rig.mirror.begun, await rig.spent()) == (0, 0)


async def test_too_slow_for_the_deadline(rig):
    rig.mirror.script = working(30.0)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await rig.call(mode=Mode.FORCE, seconds=2.0)
    assert time.monotonic() - began < 3.5
    assert rig.breaker is State.CLOSED
    await settled(rig)
    await until(lambda: rig.mirror.stopped == 1)


@asynccontextmanager
async def raising(rig, what: Exception):
    async def fail(payload):
        yield error(what)

    rig.mirror.script = fail
    yield


async def test_out_of_memory_there_is_tried_here(rig):
    async with raising(rig, OutOfMemory("fewer frames")):
        await falls_back(rig, 1)
    assert rig.breaker is State.CLOSED


async def test_killed_for_memory_by_the_platform(rig):
    rig.cloud.faults.end_calls(GenericResult.GENERIC_STATUS_KERNEL_OOM_KILL, "why")
    await falls_back(rig, 1)


async def test_the_models_own_answer_is_final(rig):
    async with raising(rig, NoFaceFound("no face in face_image")), rig.busy():
        with pytest.raises(NoFaceFound, match="face_image"):
            await rig.call()
    assert [name for name, _ in rig.started] == ["modal"]
    assert rig.breaker is State.CLOSED
    await settled(rig)


async def test_an_exception_that_nobody_foresaw(rig):
    async with raising(rig, ZeroDivisionError("a bug")):
        await falls_back(rig, 1)


async def test_cancelled_by_the_caller(rig):
    rig.mirror.script = working(30.0)
    async with rig.busy():
        call = asyncio.create_task(rig.call())
        await until(lambda: rig.mirror.begun == 1)
        await asyncio.sleep(0.5)
        call.cancel()
        await asyncio.wait([call])
        await until(lambda: rig.mirror.stopped == 1)
    assert rig.cluster.finished == 0
    assert rig.breaker is State.CLOSED
    await settled(rig)
    assert await rig.spent() > 0.3 * RATE


async def test_a_call_that_was_forced_there_fails_there(rig):
    rig.cloud.faults.end_calls(GenericResult.GENERIC_STATUS_INTERNAL_FAILURE, "why")
    with pytest.raises(Overloaded, match="why"):
        await rig.call(mode=Mode.FORCE)
    assert rig.cluster.begun == 0
    await settled(rig)


@pytest.mark.slow
async def test_two_hundred_calls_under_a_cap_of_one_dollar(rig):
    """Each second of a container costs 10 cents, so that a dollar is some calls and not all of them."""
    rate = 0.1
    rig.bursts._prices.rates.update({"L40S": rate, "A100-80GB": rate})
    rig.cloud.ledger.rates = {"L40S": rate, "A100-80GB": rate}
    rig.bursts.budget.caps = Caps(per_call=1.0, per_minute=1.0, per_day=1.0, per_tenant_day=1.0, calls=8)
    rig.cloud.fleet.scaledown_s = 2.0
    rig.cluster.seconds = 0.1
    rig.bursts._estimator._per_unit[plan_of().stages[0].deployment, "cluster"].observe(0.1)
    most, retries = 0.0, []

    async def watch():
        nonlocal most
        while True:
            most = max(most, await rig.spent())
            await asyncio.sleep(0.05)

    async def one(number: int) -> str:
        try:
            return (await rig.call(seconds=12.0, tenant=f"t{number % 5}")).decode()
        except Overloaded as refused:
            retries.append(refused.retry_after_s)
            return "refused"
        except DeadlineExceeded:
            return "late"

    watching = asyncio.create_task(watch())
    ends = await asyncio.wait_for(asyncio.gather(*(one(number) for number in range(200))), 120)
    watching.cancel()
    tally = {end: ends.count(end) for end in set(ends)}
    assert set(tally) <= {"here", "there", "refused"}, tally
    assert tally["there"] >= 3, tally
    assert tally["here"] >= 20, tally
    assert all(retry_after_s is None or retry_after_s >= 1 for retry_after_s in retries)
    assert most <= 1.0
    assert rig.cluster.finished + rig.mirror.finished == tally["here"] + tally["there"]
    await until(lambda: all(container.ended_at for container in rig.cloud.containers), 10)
    spent = await rig.spent()
    assert await rig.out() == 0
    assert len(rig.cloud.inputs) == len(rig.reports) == rig.mirror.begun
    assert sum(report.charged_s for report in rig.reports) * rate == pytest.approx(rig.cloud.ledger.input_usd, rel=0.2)
    assert rig.cloud.ledger.container_usd <= spent + CENT
    assert rig.cloud.ledger.container_usd <= 1.0
