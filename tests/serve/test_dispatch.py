"""Where calls go, with the real client of the mirror and a scripted mirror behind it."""

import asyncio
import time

import pytest
import pytest_asyncio

from models.errors import NoFaceFound, Overloaded, ReplicaLost
from serve.budget import Caps
from serve.overflow import Mode, Reason
from tests.modal_burst.loopback.server import LoopbackModal
from tests.serve.bursting import BOUNDS, RATE, plan_of, rig_of, working

pytestmark = pytest.mark.asyncio


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch):
    with LoopbackModal() as modal:
        for key, value in (modal.env | BOUNDS).items():
            monkeypatch.setenv(key, value)
        yield modal


@pytest_asyncio.fixture
async def rig(cloud, tmp_path):
    async with rig_of(cloud, tmp_path, burst_dwell_s=1.0) as made:
        yield made


async def test_an_idle_cluster_answers_itself(rig):
    assert await rig.call() == b"here"
    assert rig.started == [("cluster", "in-time")]
    assert await rig.spent() == 0


async def test_with_the_replica_busy_the_next_call_bursts_until_the_load_falls(rig):
    async with rig.busy():
        assert await rig.call() == b"there"
        assert rig.started == [("modal", "late")]
    assert await rig.spent() == pytest.approx(rig.settled(), abs=2e-6)
    assert await rig.out() == 0
    rig.started.clear()
    for _ in range(5):
        assert await rig.call() == b"here"
    assert {name for name, _ in rig.started} == {"cluster"}
    assert rig.mirror.begun == 1


async def test_calls_that_ran_here_teach_how_long_calls_take_here(rig):
    estimator = rig.dispatcher._foresight.estimator
    assert not estimator.sure(plan_of())
    for _ in range(3):
        await rig.call()
    assert estimator.sure(plan_of())
    assert estimator.stages(plan_of(), "cluster")[0] == pytest.approx(0.3 ** (3 / 4) * 0.6 ** (1 / 4), rel=0.01)
    assert estimator.stages(plan_of(), "modal") == [pytest.approx(0.6)]


async def test_the_caller_steers(rig):
    async with rig.busy(2.0):
        assert await rig.call(mode=Mode.NEVER) == b"here"
    assert await rig.call(mode=Mode.FORCE) == b"there"
    assert rig.started == [("cluster", "asked"), ("modal", "asked")]


async def test_calls_that_meet_their_deadline_nowhere_are_refused_with_the_time_to_come_back(rig):
    async with rig.busy(30.0):
        for _ in range(3):
            rig.dispatcher._foresight.estimator._per_unit[plan_of().stages[0].deployment, "cluster"].observe(0.6)
        with pytest.raises(Overloaded) as refused:
            await rig.call(mode=Mode.NEVER, seconds=10.0)
    assert 19 < refused.value.retry_after_s < 22
    assert rig.started == []


async def test_a_full_cluster_is_reason_enough(rig):
    rig.cluster.failing = [Overloaded("full", 2.0)]
    assert await rig.call() == b"there"
    assert rig.started == [("cluster", "in-time"), ("modal", "cluster-full")]


async def test_a_full_cluster_and_no_money_is_an_honest_refusal(rig):
    rig.cluster.failing = [Overloaded("full", 2.0)]
    rig.bursts.budget.caps = Caps(per_call=0.001, per_minute=1, per_day=1, per_tenant_day=1, calls=1)
    with pytest.raises(Overloaded) as refused:
        await rig.call()
    assert refused.value.retry_after_s >= 1
    assert rig.decisions[-1].reason is Reason.CALL_BUDGET


async def test_a_replica_that_dies_costs_one_more_try_and_no_more(rig):
    rig.cluster.failing = [ReplicaLost("died", 2.0)]
    assert await rig.call() == b"here"
    assert rig.started == [("cluster", "in-time"), ("cluster", "replica-lost")]
    rig.cluster.failing = [ReplicaLost("died", 2.0), ReplicaLost("died", 2.0)]
    with pytest.raises(ReplicaLost):
        await rig.call()
    assert rig.mirror.begun == 0


async def test_the_models_own_errors_are_no_reason_to_try_elsewhere(rig):
    rig.cluster.failing = [NoFaceFound("no face")]
    with pytest.raises(NoFaceFound):
        await rig.call()
    assert len(rig.started) == 1


async def test_a_call_that_waits_here_is_moved_and_never_runs_twice(rig):
    rig.bursts.budget.caps = Caps(per_call=1, per_minute=1, per_day=1, per_tenant_day=1, calls=0)
    async with rig.busy(30.0):
        begun = rig.cluster.begun
        waiting = asyncio.create_task(rig.call())
        await asyncio.sleep(0.5)
        assert rig.started == [("cluster", "slots")]
        rig.bursts.budget.caps = Caps(per_call=1, per_minute=1, per_day=1, per_tenant_day=1, calls=1)
        assert await asyncio.wait_for(waiting, 10) == b"there"
        assert rig.started[-1] == ("modal", "moved")
        assert rig.cluster.begun == begun
    assert (await rig.spent(), await rig.out()) == (pytest.approx(rig.settled(), abs=2e-6), 0)


async def test_a_call_that_takes_longer_than_its_money_gets_more_or_is_taken_back(rig):
    (offer,) = rig.bursts.offers(plan_of(), "a", second_here_s=0)
    cap = offer.usd + 15 * RATE  # room for one extension of ten seconds, not for two
    rig.mirror.script = working(30.0)
    async with rig.busy(25.0):
        rig.bursts.budget.caps = Caps(per_call=cap, per_minute=1, per_day=1, per_tenant_day=1, calls=9)
        began = time.monotonic()
        waiting = asyncio.create_task(rig.call())
        while rig.mirror.stopped == 0:
            await asyncio.sleep(0.05)
            assert time.monotonic() - began < cap / RATE
        assert time.monotonic() - began > 10
        assert await rig.spent() <= cap
        assert rig.cloud.ledger.container_seconds * RATE <= cap
        await asyncio.sleep(0.1)
        assert rig.started == [("modal", "late"), ("cluster", "mirror-failed")]
        waiting.cancel()
        await asyncio.wait([waiting])
