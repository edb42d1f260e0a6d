import json

import pytest

from models.tiny import build
from models.tiny.wan import TRAINED

SHARED = {"boundary_ratio": None, "expand_timesteps": False}
REPOS = {
    "Wan-AI/Wan2.2-I2V-A14B-Diffusers": SHARED | {"boundary_ratio": 0.9},
    "Wan-AI/Wan2.1-VACE-1.3B-diffusers": {"boundary_ratio": None},
}


@pytest.mark.parametrize("repo", REPOS)
def test_the_layout_is_the_published_one_and_small(repo, tmp_path):
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


def test_text_to_video_gets_its_trained_weights_and_shares_the_rest_with_image_to_video(tmp_path):
    build("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", tmp_path)
    own = {path.relative_to(TRAINED / "wan_t2v"): path for path in (TRAINED / "wan_t2v").rglob("*") if path.is_file()}
    shared = {
        path.relative_to(TRAINED / "wan_ti2v"): path
        for part in ("tokenizer", "text_encoder", "vae")
        for path in (TRAINED / "wan_ti2v" / part).rglob("*")
    }
    assert not own.keys() & shared.keys()
    built = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert built == {name: path.read_bytes() for name, path in (own | shared).items()}
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert (index["_class_name"], index["boundary_ratio"], index["expand_timesteps"]) == ("WanPipeline", 0.021, False)


def test_image_to_video_gets_the_trained_weights_whole(tmp_path):
    build("Wan-AI/Wan2.2-TI2V-5B-Diffusers", tmp_path)
    shipped = {path.relative_to(TRAINED / "wan_ti2v") for path in (TRAINED / "wan_ti2v").rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()} == shipped
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert (index["_class_name"], index["expand_timesteps"]) == ("WanImageToVideoPipeline", True)
