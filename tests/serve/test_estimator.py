import random

import pytest

from deployments import deployments
from models.runner import Finished
from serve.estimator import HERE, THERE, Estimator, Learned
from tests.modal_burst.plans import chain_plan, video_plan


def test_the_prior_holds_until_something_is_seen():
    known = Learned(30.0)
    assert known.median == pytest.approx(30.0)
    assert known.high == pytest.approx(49, abs=1)
    assert not known.sure


def test_ten_calls_outweigh_a_prior_that_is_off_by_a_hundred():
    known = Learned(30.0)
    for _ in range(10):
        known.observe(0.3)
    assert 0.3 < known.median < 0.5
    assert known.high < 3


def test_it_learns_median_and_spread_and_follows_change():
    rng, known = random.Random(0), Learned(1.0)
    for _ in range(300):
        known.observe(rng.lognormvariate(0.7, 0.4))
    assert known.median == pytest.approx(2.0, rel=0.25)
    assert known.high == pytest.approx(2.0 * 2.718 ** (1.65 * 0.4), rel=0.35)
    for _ in range(30):
        known.observe(20.0)
    assert known.median == pytest.approx(20.0, rel=0.25)


def test_one_freak_moves_it_little():
    known = Learned(10.0)
    for value in [10.0] * 20 + [1000.0]:
        known.observe(value)
    assert known.median < 16


def test_zero_seconds_are_no_trouble():
    known = Learned(1.0)
    known.observe(0.0)
    assert 0 < known.median < 1


def test_plans_are_estimated_by_units_stages_and_place():
    known, plan = Estimator(deployments()), chain_plan()
    first, second = (deployments()[stage.deployment] for stage in plan.stages)
    priors = [plan.units[0] * first.seconds_per_unit, plan.units[1] * second.seconds_per_unit]
    assert known.stages(plan, HERE) == pytest.approx(priors)
    assert not known.sure(plan)
    for _ in range(40):
        known.learn(plan, (THERE, HERE), (Finished(busy_s=3.0), Finished(busy_s=2.0)))
    assert known.stages(plan, THERE) == pytest.approx([3.0, priors[1]], rel=0.1)
    assert known.stages(plan, HERE) == pytest.approx([priors[0], 2.0], rel=0.1)
    assert known.stages(plan, THERE, high=True)[0] > 3.0
    assert not known.sure(plan)
    for _ in range(3):
        known.learn(plan, (HERE, HERE), (Finished(busy_s=3.0), Finished(busy_s=2.0)))
    assert known.sure(plan)


def test_cold_starts_are_learned_by_pool():
    known, plan = Estimator(deployments()), video_plan()
    pool = (plan.stages[0].deployment,)
    assert known.cold_start(pool).median == pytest.approx(deployments()[pool[0]].burst.cold_start_s)
    for _ in range(30):
        known.cold_start(pool).observe(5.0)
    assert known.cold_start(pool).median == pytest.approx(5.0, rel=0.1)
