import json

import pytest

from models.tiny import build, wan

REPOS = {
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": {"boundary_ratio": None, "expand_timesteps": False},
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": {"boundary_ratio": None, "expand_timesteps": True},
    "Wan-AI/Wan2.2-I2V-A14B-Diffusers": {"boundary_ratio": 0.9, "expand_timesteps": False},
    "Wan-AI/Wan2.1-VACE-1.3B-diffusers": {"boundary_ratio": None},
}


@pytest.mark.parametrize("repo", REPOS)
def test_the_layout_is_the_published_one_and_small(repo, tmp_path, monkeypatch):
    monkeypatch.setattr(wan, "_TRAINED_TI2V", tmp_path / "absent")
    build(repo, tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert {name: index[name] for name in REPOS[repo]} == REPOS[repo]
    for part in ("transformer", "vae"):
        assert (tmp_path / part / "config.json").is_file()
        assert (tmp_path / part / "diffusion_pytorch_model.safetensors").is_file()
    assert (tmp_path / "text_encoder" / "model.safetensors").is_file()
    assert (tmp_path / "tokenizer" / "tokenizer.json").is_file()
    assert json.loads((tmp_path / "scheduler" / "scheduler_config.json").read_text())["prediction_type"] == "flow_prediction"
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 5_000_000


def test_trained_weights_take_the_place_of_random_ones(tmp_path, monkeypatch):
    trained = tmp_path / "trained"
    (trained / "vae").mkdir(parents=True)
    (trained / "vae" / "config.json").write_text("{}")
    monkeypatch.setattr(wan, "_TRAINED_TI2V", trained)
    into = tmp_path / "into"
    into.mkdir()
    build("Wan-AI/Wan2.2-TI2V-5B-Diffusers", into)
    assert [path.relative_to(into).as_posix() for path in into.rglob("*.json")] == ["vae/config.json"]
