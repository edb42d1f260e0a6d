"""The simulator: what it counts adds up, and it decides as the dispatcher does."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.capacity.cards import Fleet, whole_cards
from benchmarks.capacity.containers import WARM_S, Containers
from benchmarks.capacity.contract import PUBLISHED, known
from benchmarks.capacity.day import DEADLINE_S, SPREAD, Day, Place, World, demand_of
from benchmarks.capacity.sweep import Prices, recommend, rival
from benchmarks.capacity.trace import DAY_S, Trace, generate, read
from deployments import deployments, endpoints

KINDS = ("L40S", "A100-80GB")


@pytest.fixture(scope="module")
def world():
    rows = [(p, endpoints()[p.path].deployments, endpoints()[p.path].output_type == "video") for p in PUBLISHED]
    return World(declared=deployments(), endpoints=rows, place=Place.BOTH, window_s=60.0)


@pytest.fixture(scope="module")
def trace(world):
    paths, loras = [p.path for p in PUBLISHED], [endpoints()[p.path].lora for p in PUBLISHED]
    return generate(3_000, paths, [p.share for p in PUBLISHED], loras)


@pytest.fixture(scope="module")
def cards(world, trace):
    return {kind: int(np.ceil(2 * filled)) for kind, filled in whole_cards(demand_of(world, trace), world.declared, KINDS).items()}


def test_every_published_endpoint_is_declared_with_as_many_stages():
    for published in PUBLISHED:
        assert len(endpoints()[published.path].deployments) == len(published.seconds), published.path
    assert sum(published.share for published in PUBLISHED) == pytest.approx(1.0)


def test_a_container_is_paid_from_its_start_to_the_end_of_its_window():
    pool = Containers(rate=1.0, cold_s=20.0, window_s=10.0, most=1)
    assert pool.opens_in(0) == 20 + WARM_S
    assert pool.run(0, 5) == pytest.approx((20 + WARM_S, 25 + WARM_S))
    assert pool.run(10, 5) == pytest.approx((25 + 2 * WARM_S, 30 + 2 * WARM_S))  # the only one: it waits
    assert pool.run(35, 5) == pytest.approx((35 + WARM_S, 40 + WARM_S))
    assert pool.close() == pytest.approx(40 + WARM_S + 10)
    assert pool.started == 1


def test_a_call_takes_the_container_that_is_free_first_and_the_one_started_for_it_is_paid_all_the_same():
    pool = Containers(rate=1.0, cold_s=20.0, window_s=10.0, most=5)
    pool.run(0, 5)
    assert pool.opens_in(22) == pytest.approx(3 + 2 * WARM_S)
    assert pool.run(22, 5) == pytest.approx((25 + 2 * WARM_S, 30 + 2 * WARM_S))
    assert pool.started == 2
    assert pool.run(23, 5)[0] == pytest.approx(30 + 3 * WARM_S)  # a third starts, and this call too has its turn sooner
    assert pool.close() == pytest.approx((35 + 3 * WARM_S + 10) + (20 + 10) + (20 + 10))


def test_a_container_that_idled_too_long_is_gone():
    pool = Containers(rate=1.0, cold_s=20.0, window_s=10.0, most=5)
    pool.run(0, 5)
    assert pool.opens_in(35) == WARM_S
    assert pool.opens_in(36) == 20 + WARM_S


def test_the_generated_day_has_its_calls_and_its_mix(trace):
    assert len(trace.at) == pytest.approx(3_000, rel=0.1)
    assert (np.diff(trace.at) >= 0).all()
    assert trace.at[-1] < DAY_S
    assert np.bincount(trace.endpoint)[1] / len(trace.at) == pytest.approx(PUBLISHED[1].share, rel=0.25)


STAGES = {"/flux": 1, "/flux-dev-lora": 1, "/wan2.6-i2v-faceswap": 2, "/flux2-klein": 1}


def test_a_trace_of_the_operators_own(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text(
        "seconds,endpoint,lora,work_s\n90000,/flux,,\n5,flux-dev-lora,anna,20\n7,/flux-dev-lora,,30\n9,wan2.6-i2v-faceswap,,9+4\n"
    )
    found = read(file, STAGES)
    assert found.paths == ("/flux", "/flux-dev-lora", "/wan2.6-i2v-faceswap")
    assert (found.at.tolist(), found.endpoint.tolist(), found.lora.tolist()) == ([5.0, 7.0, 9.0, 90000.0], [1, 1, 2, 0], [0, -1, -1, -1])
    assert found.days == 2.0
    assert found.measured == {"/flux-dev-lora": (25.0,), "/wan2.6-i2v-faceswap": (9.0, 4.0)}
    records = known(found.paths, [0.25, 0.5, 0.25], found.measured)
    assert [record.seconds for record in records] == [(2.9,), (25.0,), (9.0, 4.0)]
    assert [record.share for record in records] == [0.25, 0.5, 0.25]


@pytest.mark.parametrize("row", ["5,/nope,", "x,/flux,", "5,/flux,3+4", "5,/flux,-1", "5,/flux,fast"])
def test_a_line_of_the_trace_that_is_wrong_is_named(tmp_path, row):
    file = tmp_path / "trace.csv"
    file.write_text(f"seconds,endpoint,work_s\n1,/flux,\n{row}\n")
    with pytest.raises(SystemExit, match="line 3"):
        read(file, STAGES)


def test_an_endpoint_of_which_nothing_was_published_needs_its_seconds():
    with pytest.raises(SystemExit, match=r"/flux2-klein.*work_s"):
        known(("/flux2-klein",), [1.0], {})
    assert known(("/flux2-klein",), [1.0], {"/flux2-klein": (3.0,)})[0].seconds == (3.0,)


def one_model(world, path, seconds, rate, calls):
    """A world of one endpoint that takes `seconds` of an L40S, and calls at random, `rate` a second."""
    rng = np.random.default_rng(0)
    trace = Trace((path,), np.cumsum(rng.exponential(1 / rate, calls)), np.zeros(calls, np.int16), np.full(calls, -1, np.int32))
    row = (known((path,), [1.0], {path: (seconds,)})[0], endpoints()[path].deployments, False)
    return replace(world, endpoints=[row]), trace


def test_the_mean_wait_of_one_card_is_that_of_queueing_theory(world):
    """Pollaczek and Khinchine: the wait is rate x E[S^2] / 2(1 - load)."""
    service = 1.0 * np.exp(SPREAD**2 / 2)
    load = 0.7
    small, trace = one_model(world, "/qwen-image-2512", 1.6, load / service, 40_000)  # 1 s on an A100
    outcome = Day(replace(small, place=Place.OWNED, cards={"A100-80GB": 1}), trace).run()
    expected = load / service * np.exp(2 * SPREAD**2) / (2 * (1 - load))
    assert outcome.waited.mean() == pytest.approx(expected, rel=0.1)
    assert outcome.used * outcome.days * DAY_S == pytest.approx(load * trace.at[-1], rel=0.02)
    assert outcome.took.mean() == pytest.approx(expected + service, rel=0.05)


def test_a_call_alone_on_modal_costs_its_start_its_work_and_its_window(world):
    small, _ = one_model(world, "/flux", 10.0, 1.0, 1)
    alone = Trace(("/flux",), np.array([100.0]), np.zeros(1, np.int16), np.full(1, -1, np.int32))
    outcome = Day(replace(small, place=Place.MODAL), alone).run()
    work_s, cold_s = float(outcome.took[0]), deployments()["flux-schnell"].burst.cold_start_s
    assert work_s == pytest.approx(cold_s + 10.0, rel=0.3)
    assert outcome.burst_usd == pytest.approx((work_s + 60.0) * 0.000542)


def test_the_second_half_of_a_chain_begins_with_the_first_and_ends_no_earlier(world):
    path = "/wan2.6-i2v-faceswap"
    row = (known((path,), [1.0], {path: (100.0, 10.0)})[0], endpoints()[path].deployments, True)
    calls = Trace((path,), np.array([0.0, 0.0, 0.0]), np.zeros(3, np.int16), np.full(3, -1, np.int32))
    outcome = Day(replace(world, endpoints=[row], place=Place.OWNED, cards={"L40S": 2}), calls).run()
    assert (np.sort(outcome.took) >= [70, 70, 140]).all()  # two cards: two at once, then the third, whose swap waits for its frames


def test_no_card_holds_more_than_it_has(world, trace, cards):
    fleet = Fleet(cards, world.declared, demand_of(world, trace))
    for _ in range(20):
        for line in fleet.lines.values():
            line.work = float(np.random.default_rng(len(line.free)).uniform(0, 600))
        fleet.rebalance(300.0, 300.0)
    for number, card in enumerate(fleet.cards):
        held = sum(fleet.lines[name].declared.gpu.share[card.kind] * count for name, count in card.held.items())
        assert held + card.free == pytest.approx(1.0)
        assert sum(entry[1] == number for line in fleet.lines.values() for entry in line.free) == sum(card.held.values())


def test_owned_and_burst_loses_no_call_and_waits_less(world, trace, cards):
    both = Day(replace(world, cards=cards), trace).run()
    alone = Day(replace(world, cards=cards, place=Place.OWNED), trace).run()
    assert np.isfinite(both.took).all()
    assert both.objective > alone.objective
    assert 0 < both.burst.mean() < 0.5
    assert both.burst_usd > 0
    assert alone.burst_usd == 0
    assert 0 < both.used <= 1
    assert (both.waited[np.isfinite(both.waited)] <= DEADLINE_S).all()


def test_the_cap_holds(world, trace):
    few = {"L40S": 1, "A100-80GB": 1}
    capped = Day(replace(world, cards=few, cap_usd_per_day=5.0), trace).run()
    assert 0 < capped.burst_usd <= 5.0 + 1.0  # windows that run out after midnight are paid too
    assert np.isinf(capped.took).any()


def test_the_recommended_fleet_is_the_cheapest_of_those_tried_that_are_good_enough(world, trace):
    prices = Prices({"L40S": 0.79, "A100-80GB": 1.29})
    tried = recommend(world, trace, {"L40S": 2, "A100-80GB": 3}, prices, 0.6, steps=2)
    assert len({tuple(outcome.cards.items()) for outcome in tried}) == len(tried) > 5
    good = [outcome for outcome in tried if outcome.objective >= 0.6]
    assert tried[0] is min(good, key=prices.per_day)
    assert rival(tried, prices, 0.6) is tried[0]
    assert rival(tried, prices, 1.1).objective == max(outcome.objective for outcome in tried)


def test_all_on_modal_needs_no_cards(world, trace):
    outcome = Day(replace(world, place=Place.MODAL, most=10**6), trace).run()
    assert outcome.burst.all()
    assert outcome.used == 0
