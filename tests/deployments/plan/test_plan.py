"""The planner: what it packs fits, it leaves out as little as can be, and it says what would help."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments import deployments
from deployments.plan.__main__ import demand, main
from deployments.plan.arrival import apps, stranded
from deployments.plan.packing import additions, pack
from deployments.plan.placement import Placement
from deployments.plan.serve_config import LABEL, production, tiny
from deployments.spec.deployment import CARD_GB, Deployment, Gpu, Replicas


def runner(_: Any) -> Any:
    raise AssertionError("a plan loads nothing")


runner.__module__ = "models.family_of_tests"


def model(name: str, vram_gb: float, share: Mapping[Any, float], *, least: int = 1, most: int = 4) -> Deployment:
    gpu, replicas = Gpu(vram_gb=vram_gb, share=share), Replicas(min=least, max=most)
    return Deployment(name=name, model=name, summary="", runner=runner, gpu=gpu, replicas=replicas)


def planned(l40s: int, a100: int, **options: Any) -> Placement:
    return pack({"L40S": l40s, "A100-80GB": a100}, list(deployments().values()), options.get("demand", demand(None)))


def held(placement: Placement) -> set[tuple[str, ...]]:
    return {tuple(sorted((*card.up, *card.rooms))) for card in placement.cards}


def test_four_l40s_and_two_a100_lack_a_fifth_of_a_card_for_the_last_model():
    placement = planned(4, 2)
    assert held(placement) == {
        ("flux-dev",),
        ("wan-ti2v",),
        ("sdxl", "wan-t2v"),
        ("face-swap", "z-image"),
        ("qwen-image-2512",),
        ("wan-a14b",),
    }
    assert placement.left_out == ("wan-vace",)
    must = [d for d in deployments().values() if d.replicas.min]
    assert additions({"L40S": 4, "A100-80GB": 2}, must) == [{"L40S": 1}, {"A100-80GB": 1}]
    assert not planned(5, 2).left_out


def test_eight_l40s_hold_all_but_what_runs_on_an_a100_only():
    placement = planned(8, 0)
    assert placement.left_out == ("qwen-image-2512", "wan-a14b")
    assert placement.no_room == ("qwen-image-edit-2511",)
    assert placement.up("face-swap") == 4
    assert additions({"L40S": 8}, list(deployments().values())) == [{"A100-80GB": 3}]


def test_of_models_that_do_not_all_fit_those_asked_for_more_stay():
    assert "wan-vace" not in planned(4, 2, demand=dict(demand(None)) | {"wan-vace": 50.0}).left_out


def test_a_preferred_kind_of_card_is_taken_where_it_is_free_and_given_up_to_hold_one_model_more():
    either = model("either", 40, {"A100-80GB": 1.0, "L40S": 1.0}, most=1)
    only = model("only", 40, {"A100-80GB": 1.0}, most=1)
    fleet = {"L40S": 1, "A100-80GB": 1}
    assert pack(fleet, [either], {}).kinds == {"either": "A100-80GB"}
    assert pack(fleet, [either, only], {}).kinds == {"either": "L40S", "only": "A100-80GB"}


def test_memory_bounds_a_card_where_shares_would_not():
    # A share need only cover a replica's memory, so two halves fit any card; three of a third each of 48 GB do not hold 17 GB each.
    placement = pack({"L40S": 1}, [model("m", 16.5, {"L40S": 0.344})], {"m": 1.0})
    assert placement.up("m") == 2


def test_spare_cards_go_to_the_models_with_the_most_work_for_each_replica():
    busy, idle = model("busy", 48, {"L40S": 1.0}), model("idle", 48, {"L40S": 1.0})
    placement = pack({"L40S": 5}, [busy, idle], {"busy": 3.0, "idle": 1.0})
    assert (placement.up("busy"), placement.up("idle")) == (4, 1)
    placement = pack({"L40S": 4}, [busy, idle], {"busy": 1.2, "idle": 1.0})
    assert (placement.up("busy"), placement.up("idle")) == (2, 2)


def test_a_model_that_may_scale_to_none_has_a_room_and_nothing_in_it():
    placement = pack({"L40S": 2}, [model("rare", 48, {"L40S": 1.0}, least=0), model("kept", 48, {"L40S": 1.0})], {"kept": 1.0})
    assert (placement.up("rare"), placement.up("kept")) == (0, 1)
    assert held(placement) == {("rare",), ("kept",)}


def test_a_minimum_that_fits_in_part_is_told_and_used():
    placement = pack({"L40S": 1}, [model("two", 48, {"L40S": 1.0}, least=2)], {})
    assert placement.left_out == ("two",)
    assert placement.up("two") == 1


@pytest.mark.parametrize(
    ("fleet", "asked", "words"),
    [
        ({"L40S": 0, "A100-80GB": 0}, {}, "at least one card"),
        ({"L40S": -1, "A100-80GB": 4}, {}, "negative"),
        ({"L40S": 1}, {"m": -1.0}, "at least 0"),
        ({"L40S": 1}, {"m": float("nan")}, "finite"),
        ({"L40S": 1}, {"nobody": 1.0}, "nobody"),
    ],
)
def test_nonsense_is_refused(fleet: dict[Any, int], asked: dict[str, float], words: str):
    with pytest.raises(ValueError, match=words):
        pack(fleet, [model("m", 20, {"L40S": 0.5})], asked)


shares = st.sampled_from([0.2, 0.25, 0.3, 0.45, 0.5, 0.55, 0.6, 1.0])
models = st.lists(st.tuples(shares, st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=5)


@settings(max_examples=25, deadline=None)
@given(models, st.integers(1, 4))
def test_whatever_is_packed_fits_and_everything_is_accounted_for(wanted: list[tuple[float, int, int]], cards: int):
    declared = [model(f"m{i}", 40 * share, {"L40S": share}, least=min(a, b), most=b) for i, (share, a, b) in enumerate(wanted)]
    placement = pack({"L40S": cards}, declared, {d.name: float(i) for i, d in enumerate(declared)})
    for card in placement.cards:
        assert placement.used(card) <= 1
        assert placement.used_gb(card) <= CARD_GB[card.kind]
    for d in declared:
        missing = d.name in (*placement.left_out, *placement.no_room)
        rooms = sum(card.rooms.count(d.name) for card in placement.cards)
        assert missing == (placement.up(d.name) + rooms < max(1, d.replicas.min))
        assert placement.up(d.name) <= d.replicas.max
        if d.name in placement.kinds:
            assert placement.up(d.name) <= max(placement.most(d.name), d.replicas.min)


def test_large_replicas_start_first_and_then_ray_finds_the_planners_room():
    placement = planned(4, 2)
    order = [name for names in apps(placement).values() for name in names]
    assert stranded(placement, order) == []
    assert stranded(placement, ["face-swap", "sdxl", "wan-t2v", "z-image", "wan-ti2v", "flux-dev", "qwen-image-2512", "wan-a14b"]) == [
        "flux-dev"
    ]


def test_serves_own_schema_accepts_both_files():
    from ray.serve.schema import ServeDeploySchema

    for config in (production(planned(4, 2)), tiny(list(deployments().values()))):
        assert ServeDeploySchema.model_validate(config).applications


def test_production_pins_each_replica_to_its_share_of_a_kind_of_card_and_to_no_node():
    placement = planned(4, 2)
    config = production(placement)
    replicas = {d["name"]: d for app in config["applications"] for d in app["deployments"] if app["name"] != "gateway"}
    assert set(replicas) == set(placement.kinds)
    for name, options in replicas.items():
        actor = options["ray_actor_options"]
        assert actor["num_gpus"] == deployments()[name].gpu.share[placement.kinds[name]]
        assert set(actor["label_selector"]) == {LABEL}
        scaling = options["autoscaling_config"]
        assert scaling["min_replicas"] <= scaling["initial_replicas"] <= scaling["max_replicas"]
    front = config["applications"][-1]
    assert front["deployments"][0]["ray_actor_options"]["num_gpus"] == 0
    assert [app["route_prefix"] for app in config["applications"]] == [None] * len(apps(placement)) + ["/"]


def test_a_lone_gateway_stays_until_its_successor_is_up_and_several_are_on_nodes_of_their_own():
    for config in (production(planned(4, 2), gateways=1), tiny(list(deployments().values()))):
        (lone,) = config["applications"][-1]["deployments"]
        assert lone["max_surge_percent"] == 100
        assert "max_replicas_per_node" not in lone, "the node that its predecessor ends its calls on may be the only one"
    (several,) = production(planned(4, 2), gateways=2)["applications"][-1]["deployments"]
    assert several["max_replicas_per_node"] == 1
    assert "max_surge_percent" not in several, "there may be no node for one more"


def test_an_app_waits_for_the_cards_of_those_before_it():
    ahead = [app["args"]["cards_ahead"] for app in production(planned(4, 2))["applications"][:-1]]
    assert ahead == sorted(ahead)
    assert ahead[0] == 0
    assert ahead[-1] == pytest.approx(5.55)  # all but face swap's quarter


def test_the_command_writes_what_the_repository_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main(["--l40s", "4", "--a100", "2", "--write", str(tmp_path)])
    told = capsys.readouterr().out
    assert "left out: wan-vace, which needs 0.6 of an L40S (the most that is free on one is 0.20)" in told
    assert "to hold every minimum, add 1 × L40S, or 1 × A100-80GB" in told
    for name in ("serve/config/production.yaml", "serve/config/tiny.yaml", "deploy/kuberay.yaml"):
        assert (tmp_path / name).read_text() == Path(name).read_text(), "stale; python -m deployments.plan writes it"


def test_demand_is_read_from_a_file_and_a_wrong_one_is_named(tmp_path: Path):
    file = tmp_path / "demand.json"
    file.write_text(json.dumps({"sdxl": 100}))
    assert demand(file) == {"sdxl": 100}
    file.write_text("[1]")
    with pytest.raises(SystemExit, match="JSON object of numbers"):
        main(["--l40s", "1", "--demand", str(file)])
    with pytest.raises(SystemExit, match="absolute path"):
        main(["--l40s", "1", "--code", "here"])
