import asyncio
import multiprocessing
import random
from pathlib import Path

import pytest

from serve.budget import DAY, EXPIRY_S, MINUTE, Budget, Caps, Refusal, Reservation
from serve.jobs import Jobs
from serve.overflow import Reason

pytestmark = pytest.mark.asyncio
MIDNIGHT = 20_000 * float(DAY)


class Clock:
    def __init__(self, now: float = MIDNIGHT) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def budget(url: str, clock=None, **caps) -> Budget:
    plenty = {"per_call": 10.0, "per_minute": 100.0, "per_day": 100.0, "per_tenant_day": 100.0, "calls": 100}
    return Budget(Jobs(url).engine, Caps(**plenty | caps), *([clock] if clock else []))


async def reserved(of: Budget, usd: float, tenant: str = "a") -> Reservation:
    answer = await of.reserve(tenant, "pool", usd)
    assert isinstance(answer, Reservation), answer
    return answer


async def refused(of: Budget, usd: float, tenant: str = "a", **rest) -> Refusal:
    answer = await of.reserve(tenant, "pool", usd, **rest)
    assert isinstance(answer, Refusal), answer
    return answer


async def test_money_is_set_aside_in_full_and_settled_to_what_it_cost(url):
    of = budget(url)
    first, second = await reserved(of, 0.5), await reserved(of, 0.25)
    assert await of.spent() == 0.75
    await of.settle(first, 0.123456)
    assert await of.spent() == pytest.approx(0.373456, abs=1e-9)
    await of.settle(first, 0.4)  # only the first time counts
    await of.settle(second, 0.0)
    assert await of.spent() == pytest.approx(0.123456, abs=1e-9)
    assert await of.out("pool") == 0


@pytest.mark.parametrize(
    ("caps", "reason", "for_s"),
    [
        ({"per_call": 0.99}, Reason.CALL_BUDGET, None),
        ({"per_minute": 1.49}, Reason.MINUTE_BUDGET, MINUTE - 10),
        ({"per_day": 1.49}, Reason.DAY_BUDGET, DAY - 10),
        ({"per_tenant_day": 1.49}, Reason.TENANT_BUDGET, DAY - 10),
        ({"calls": 1}, Reason.SLOTS, None),
    ],
)
async def test_every_cap_refuses_what_would_break_it(url, clock, caps, reason, for_s):
    of = budget(url, clock, **caps)
    await reserved(of, 0.5)
    clock.now += 10
    assert await refused(of, 1.0) == Refusal(reason, for_s)
    assert await of.spent() == 0.5
    assert of.refusal("a", 1.0) == Refusal(reason, for_s)
    if reason is not Reason.SLOTS:
        assert of.refusal("a", 0.5) is None
        await reserved(of, 0.5)


async def test_a_refusal_is_remembered_for_a_moment_and_for_whom_it_concerns(url, clock):
    of = budget(url, clock, per_tenant_day=1.0)
    await reserved(of, 1.0)
    await refused(of, 0.5)
    assert of.refusal("b", 0.5) is None
    assert of.refusal("a", 0.4) is None
    clock.now += 3
    assert of.refusal("a", 0.5) is None


async def test_a_new_minute_and_a_new_day_bring_new_money(url, clock):
    of = budget(url, clock, per_minute=1.0, per_day=1.5)
    await reserved(of, 1.0)
    clock.now += MINUTE
    await reserved(of, 0.5)
    clock.now += MINUTE
    assert (await refused(of, 0.1)).reason is Reason.DAY_BUDGET
    clock.now += DAY
    await reserved(of, 1.0)


async def test_what_is_settled_later_counts_where_it_was_set_aside(url, clock):
    of = budget(url, clock, per_day=1.0)
    clock.now += DAY - 1
    late = await reserved(of, 1.0)
    clock.now += 2
    await reserved(of, 1.0)
    await of.settle(late, 0.2)
    assert await of.spent() == 1.0
    clock.now -= 2
    assert await of.spent() == 0.2


async def test_a_call_that_takes_longer_gets_more_until_a_cap_is_met(url):
    of = budget(url, per_call=1.0, per_day=1.2)
    first, second = await reserved(of, 0.5), await reserved(of, 0.5)
    assert await of.extend(first, 0.15)
    assert not await of.extend(second, 0.15)
    assert await of.spent() == pytest.approx(1.15)
    await of.settle(second, 0.1)
    assert await of.extend(first, 0.35)
    assert not await of.extend(first, 0.01)  # the cap of one call
    await of.settle(first, 0.9)
    assert await of.spent() == pytest.approx(1.0)


async def test_it_survives_its_process_and_leases_of_the_dead_end_but_not_their_money(url, clock):
    await reserved(budget(url, clock, calls=1), 0.5)
    after = budget(url, clock, calls=1)
    assert await after.spent() == 0.5
    clock.now += EXPIRY_S
    assert (await refused(after, 0.1)).reason is Reason.SLOTS
    clock.now += 1
    lease = await reserved(after, 0.1)
    for _ in range(5):
        clock.now += EXPIRY_S - 1
        await after.beat()
    assert (await refused(after, 0.1)).reason is Reason.SLOTS
    await after.settle(lease, 0.05)
    assert await after.spent() == pytest.approx(0.55)


async def test_calls_of_nobodys_take_slots(url):
    of = budget(url, calls=3)
    await reserved(of, 0.1)
    assert (await refused(of, 0.1, strays=2)).reason is Reason.SLOTS


def spend_all(url: str, seed: int) -> None:
    async def work() -> int:
        of, rng, passed = budget(url, per_day=1.0), random.Random(seed), 0
        for _ in range(40):
            answer = await of.reserve("a", "pool", 0.04)
            if isinstance(answer, Reservation):
                passed += 1
                assert await of.spent() <= 1.0
                await of.settle(answer, rng.choice([0.01, 0.02, 0.04]))
        return passed

    assert asyncio.run(work()) >= 0


@pytest.mark.slow
async def test_gateways_at_once_never_pass_the_cap(url):
    of = budget(url, per_day=1.0)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=spend_all, args=(url, seed)) for seed in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        await asyncio.to_thread(worker.join, 120)
        assert worker.exitcode == 0
    assert 0.96 < await of.spent() <= 1.0
    assert await of.out("pool") == 0


async def test_sixty_reservations_at_once_in_one_gateway(url):
    of = budget(url, per_day=1.0)
    answers = await asyncio.gather(*(of.reserve("a", "pool", 0.1) for _ in range(60)))
    assert sum(isinstance(answer, Reservation) for answer in answers) == 10
    assert await of.spent() == 1.0
