import pytest
import torch

from models.errors import WeightsMissing
from models.seedvr2.config import SEEDVR2_3B, SEEDVR2_7B, find
from models.seedvr2.dit import SeedVR2Transformer
from models.seedvr2.vae import SeedVR2Autoencoder


@pytest.mark.parametrize(
    ("variant", "tensors", "parameters"), [(SEEDVR2_3B, 635, 3_391_475_776), (SEEDVR2_7B, 1128, 8_239_607_872)], ids=["3b", "7b"]
)
def test_the_published_transformers(variant, tensors, parameters):
    with torch.device("meta"):
        dit = SeedVR2Transformer(variant.dit)
    assert len(dit.state_dict()) == tensors
    assert sum(parameter.numel() for parameter in dit.parameters()) == parameters


def test_the_published_autoencoder():
    with torch.device("meta"):
        vae = SeedVR2Autoencoder(SEEDVR2_3B.vae)
    assert len(vae.state_dict()) == 250
    assert sum(parameter.numel() for parameter in vae.parameters()) == 250_648_227


def test_published_files_are_known_by_their_names(tmp_path):
    for name in ("seedvr2_ema_7b_fp16.safetensors", "ema_vae_fp16.safetensors", "pos_emb.safetensors"):
        (tmp_path / name).touch()
    files = find([tmp_path])
    assert (files.dit_config, files.vae_config) == (SEEDVR2_7B.dit, SEEDVR2_7B.vae)
    assert files.prompt.name == "pos_emb.safetensors"


def test_parts_may_lie_in_different_checkpoints(tmp_path):
    for name in ("networks/seedvr2_ema_3b_fp16.safetensors", "networks/ema_vae_fp16.safetensors", "prompt/pos_emb.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find([tmp_path / "networks", tmp_path / "prompt"]).prompt.parent.name == "prompt"
    with pytest.raises(WeightsMissing, match=r"needs pos_emb\.safetensors in networks$"):
        find([tmp_path / "networks"])


def test_pickles_are_not_an_alternative(tmp_path):
    for name in ("seedvr2_ema_3b.pth", "ema_vae.pth", "pos_emb.pt"):
        (tmp_path / name).touch()
    with pytest.raises(WeightsMissing, match=r"seedvr2_ema_3b\.pth can run code.*models\.seedvr2\.convert"):
        find([tmp_path])
