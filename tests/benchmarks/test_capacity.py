"""The simulator: what it counts adds up, and it decides as the dispatcher does."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.capacity.cards import Fleet, whole_cards
from benchmarks.capacity.containers import WARM_S, Containers
from benchmarks.capacity.contract import PUBLISHED
from benchmarks.capacity.day import DEADLINE_S, Day, Place, World, demand_of
from benchmarks.capacity.trace import DAY_S, generate, read
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
    assert pool.opens_in(0) == 20
    assert pool.run(0, 5) == (20, 25)
    assert pool.run(10, 5) == (25 + WARM_S, 30 + WARM_S)  # the only one: it waits
    assert pool.run(35, 5) == (35 + WARM_S, 40 + WARM_S)
    assert pool.close() == pytest.approx(40 + WARM_S + 10)
    assert pool.started == 1


def test_a_container_that_idled_too_long_is_gone():
    pool = Containers(rate=1.0, cold_s=20.0, window_s=10.0, most=5)
    pool.run(0, 5)
    assert pool.opens_in(34) == WARM_S
    assert pool.opens_in(36) == 20


def test_the_generated_day_has_its_calls_and_its_mix(trace):
    assert len(trace.at) == pytest.approx(3_000, rel=0.1)
    assert (np.diff(trace.at) >= 0).all()
    assert trace.at[-1] < DAY_S
    assert np.bincount(trace.endpoint)[1] / len(trace.at) == pytest.approx(PUBLISHED[1].share, rel=0.25)


def test_a_trace_of_the_operators_own(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text("seconds,endpoint,lora\n90000,/flux,\n5,flux-dev-lora,anna\n")
    found = read(file, ["/flux", "/flux-dev-lora"])
    assert (found.at.tolist(), found.endpoint.tolist(), found.lora.tolist(), found.days) == ([5.0, 90000.0], [1, 0], [0, -1], 2.0)
    file.write_text("seconds,endpoint\n5,/nope\n")
    with pytest.raises(SystemExit, match="line 2"):
        read(file, ["/flux"])


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


def test_all_on_modal_needs_no_cards(world, trace):
    outcome = Day(replace(world, place=Place.MODAL, most=10**6), trace).run()
    assert outcome.burst.all()
    assert outcome.used == 0
