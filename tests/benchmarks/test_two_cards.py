"""What the benchmark of two cards computes: places, shares of other cards, the store's pins, times, and what it keeps of a scrape."""

from pathlib import Path

import pytest

from benchmarks.gpu import random_store
from benchmarks.gpu.mixed_load import Call, Every, summary
from benchmarks.gpu.scrape import Watch, own_lines, samples
from benchmarks.gpu.two_cards_plan import BESIDE, MODELS, SHARING, config, placement, shares, targets
from deployments import deployments, endpoints
from deployments.spec.deployment import CARD_GB
from models.store import MirrorSource, Pin, PinnedStore

SCRAPE = """# HELP ray_ryla_vram_bytes Memory of a card.
# TYPE ray_ryla_vram_bytes gauge
ray_ryla_vram_bytes{NodeAddress="127.0.0.3",SessionName="s",Version="2.60.0",kind="reserved",model="sdxl",otel_scope_name="x"} 2.5e+10
ray_ryla_vram_bytes{Component="core_worker",kind="share",model="sdxl",WorkerId="ab"} 3e+10
# HELP ray_node_cpu Ray's own.
ray_node_cpu{ip="10.0.0.1"} 3.0
ray_ryla_out_of_memory_total{card="H200",model="sdxl"} 2.0
"""


def test_placement_fits_the_cards_and_two_share_one():
    placed = placement()
    assert placed.cards[0].up == SHARING
    assert placed.cards[1].up == (BESIDE,)
    for card in placed.cards:
        assert placed.used(card) <= 1
        assert placed.used_gb(card) <= CARD_GB[card.kind]


def test_a_share_of_a_larger_card_is_the_same_memory():
    declared = shares(config(Path("/code"), 1, None))
    here = shares(config(Path("/code"), 1, 150.0))
    assert set(here) == set(MODELS)
    for name, share in here.items():
        kind = placement().kinds[name]
        assert declared[name] == deployments()[name].gpu.share[kind]
        assert share * 150.0 == pytest.approx(declared[name] * CARD_GB[kind], abs=0.01)


def test_no_app_waits_for_cards_that_others_take():
    assert all(app["args"].get("cards_ahead", 0.0) == 0.0 for app in config(Path("/code"), 1, 150.0)["applications"])


@pytest.mark.parametrize("small", [True, False])
def test_calls_are_ones_that_the_endpoints_take(small):
    for name, target in targets(small=small).items():
        endpoint = endpoints()[target.path]
        assert endpoint.deployments == (name,)
        endpoint.request.model_validate(dict(target.body) | {"prompt": "a park"})


def test_the_store_takes_what_was_built_as_pinned(tmp_path):
    lock = {repo: Pin(entry["revision"], entry["files"]) for repo, entry in random_store.pins(MODELS).items()}
    store = PinnedStore(tmp_path, MirrorSource("file:///none"), lock, commercial_only=True, grants=frozenset())
    for name in MODELS:
        for role in random_store.roles(name):
            checkpoint = deployments()[name].weights[role]
            folder = random_store.place(tmp_path, checkpoint.repo)
            folder.mkdir(parents=True)
            assert store.folder(checkpoint) == folder


def test_summary_counts_good_and_failed_calls():
    calls = [Call("m", i, seconds, "200") for i, seconds in enumerate((3.0, 1.0, 2.0))] + [Call("m", 4.0, 9.0, "503", "late")]
    found = summary(calls, 30.0)
    assert (found["ok"], found["failed"], found["per_min"], found["median_s"], found["p95_s"]) == (3, 1, 6.0, 2.0, 3.0)
    assert found["statuses"] == {"200": 3, "503": 1}
    assert found["words"] == "late"


def test_summary_of_nothing():
    assert summary([], 10.0) == {"ok": 0, "failed": 0, "per_min": 0.0, "median_s": None, "p95_s": None}


def test_own_lines_leave_out_others_and_what_tells_of_one_run():
    lines = own_lines(SCRAPE)
    assert len(lines) == 5
    assert 'ray_ryla_vram_bytes{NodeAddress="127.0.0.3",kind="reserved",model="sdxl"} 2.5e+10' in lines
    assert 'ray_ryla_vram_bytes{kind="share",model="sdxl"} 3e+10' in lines
    assert samples(lines, "ray_ryla_out_of_memory_total") == [({"card": "H200", "model": "sdxl"}, 2.0)]


def test_watch_keeps_peaks_and_the_latest_lines(monkeypatch):
    texts = iter((SCRAPE, SCRAPE.replace("2.5e+10", "1e+10"), ""))
    monkeypatch.setattr("benchmarks.gpu.scrape.httpx.get", lambda *_, **__: type("Reply", (), {"text": next(texts)}))
    watch = Watch({"a100": "http://node/metrics"})
    for _ in range(3):
        watch.look()
    assert dict(watch.reserved) == {"sdxl": 2.5e10}
    assert watch.share == {"sdxl": 3e10}
    assert watch.ooms == 2
    assert "1e+10" in watch.example("said")


def test_every_goes_on_after_a_look_that_failed():
    seen: list[int] = []

    def look() -> None:
        seen.append(1)
        raise OSError

    with Every(0.01, look) as every:
        while len(seen) < 2:
            every._thread.join(0.01)
    assert not every._thread.is_alive()
