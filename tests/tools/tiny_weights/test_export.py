"""What `export` writes of a text-to-video training, and the log that is kept of it."""

import json

import pytest
import torch

from tools.tiny_weights import curves, export, networks


@pytest.fixture
def trained(tmp_path):
    """A folder as a training leaves it; its weights are random."""
    torch.manual_seed(0)
    parts = {
        "first/planner": networks.canvas_planner(),
        "second/planner": networks.canvas_planner(),
        "painter/painter": networks.canvas_painter(),
    }
    state = {f"{name}/{key}": value.half() for name, network in parts.items() for key, value in network.state_dict().items()}
    torch.save(state, tmp_path / "canvas.pt")
    judged = [
        {"course": "judge", "planner": name, "second": at, "ground": share, "all": share}
        for name, at, share in (("first", 1.0, 0.9), ("second", 1.0, 0.1), ("first", 2.0, 0.2), ("second", 2.0, 0.3))
    ]
    courses = {"first": "loss", "second": "loss", "painter": "decibels"}
    lines = [{"course": name, "step": n, "second": n + 0.5, fact: 1.23456 + n} for name, fact in courses.items() for n in range(4)]
    (tmp_path / "canvas.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (*judged, *lines)))
    return tmp_path, parts


def test_text_to_video_is_written_with_the_planner_that_was_better_at_last(trained, tmp_path):
    from safetensors.torch import load_file

    folder, parts = trained
    export.everything(folder, tmp_path / "out")
    written = tmp_path / "out" / "wan_t2v"
    assert {path.name for path in written.iterdir()} == {"model_index.json", "scheduler", "transformer", "transformer_2"}
    for name, network in (("transformer", parts["second/planner"]), ("transformer_2", parts["painter/painter"])):
        held = load_file(written / name / "diffusion_pytorch_model.safetensors")
        assert all(torch.equal(held[key], value.half()) for key, value in network.state_dict().items())
    index = json.loads((written / "model_index.json").read_text())
    assert index["vae"] == ["diffusers", "AutoencoderKLWan"]
    assert index["boundary_ratio"] == 0.021
    listed = [line.split("  ")[1] for line in (tmp_path / "out" / "SHA256SUMS").read_text().splitlines()]
    assert sorted(listed) == listed
    assert "wan_t2v/model_index.json" in listed


def test_a_folder_without_a_training_is_told_so(tmp_path):
    with pytest.raises(SystemExit, match="train first"):
        export.everything(tmp_path, tmp_path / "out")


def test_the_kept_log_has_every_judgement_and_each_courses_end(trained):
    folder, _ = trained
    kept = curves.shortened(curves.read(folder / "canvas.jsonl"))
    assert sum(line["course"] == "judge" for line in kept) == 4
    assert [line["step"] for line in kept if line["course"] == "painter"] == [0, 2, 3]
    assert kept[-1]["decibels"] == 4.235


def test_the_curves_are_drawn(trained, tmp_path):
    folder, _ = trained
    curves.draw(curves.read(folder / "canvas.jsonl"), tmp_path / "canvas.svg")
    text = (tmp_path / "canvas.svg").read_text()
    assert text.startswith("<?xml")
    assert "Planners: loss" in text
    assert "ground" in text
