"""Our networks against the authors': the numbers below are what their code gives for the same weights and inputs (float32, CPU)."""

import math

import pytest
import torch

from models.seedvr2.config import DitConfig, VaeConfig
from models.seedvr2.dit import SeedVR2Transformer
from models.seedvr2.vae import SeedVR2Autoencoder

NORMS = ("norm1.weight", "norm2.weight", "group_norm.weight", "norm_out.weight", "out_norm.weight", "_scale")


def wave(shape, step):
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * step).view(shape).float()


def with_waves(module):
    """Weights that any program can make: sines, about 1 for what multiplies, as large as usual for what is summed."""
    state = module.state_dict()
    for number, name in enumerate(sorted(state)):
        if not name.endswith("freqs"):
            scale = state[name][0].numel() ** -0.5 if state[name].ndim > 1 else 0.1
            offset = 1.0 if name.endswith(NORMS) or ".norm_q." in name or ".norm_k." in name else 0.0
            state[name].copy_(wave(state[name].shape, 0.7 + 0.01 * number) * scale * 1.4 + offset)
    return module


@pytest.mark.parametrize(
    ("variant", "mean", "std", "first", "middle"),
    [
        ("3b", 0.0041968, 2.4227808, [3.1104755, 3.5124526, 2.5702033, 0.8969004], [0.8483214, 2.4455552, 3.5315070, 3.3886557]),
        ("7b", 0.0082387, 0.4705617, [0.5940585, 0.0284213, -0.6044931, 0.5960711], [0.2357610, 0.3179281, -0.5952176, 0.3199596]),
    ],
)
def test_the_transformer_computes_what_the_authors_does(variant, mean, std, first, middle):
    three = variant == "3b"
    config = DitConfig(
        dim=48,
        heads=2,
        head_dim=24,
        layers=4,
        separate_layers=2 if three else 4,
        mlp="swiglu" if three else "gelu",
        rope="joint" if three else "window",
        text_dim=24,
        refined_output=three,
    )
    with torch.no_grad():
        out = with_waves(SeedVR2Transformer(config))(wave((2, 84, 148, 33), 0.13), wave((8, 24), 0.29), 1000.0)
    assert [out.mean().item(), out.std().item()] == pytest.approx([mean, std], abs=1e-5)
    assert out[0, 0, 0, :4].tolist() == pytest.approx(first, abs=1e-4)
    assert out[1, 43, 90, :4].tolist() == pytest.approx(middle, abs=1e-4)


@pytest.mark.parametrize(
    ("frames", "latent", "pixel"),
    [
        (1, [0.0204497, 0.2954247, 0.0133761], [-0.5199401, -0.2626900, 0.5118980]),
        (9, [0.2954360, 0.5500566, -0.0940213], [0.2016581, 0.3512289, 0.0438261]),
    ],
)
def test_the_autoencoder_computes_what_the_authors_does(frames, latent, pixel):
    vae = with_waves(SeedVR2Autoencoder(VaeConfig(channels=(8, 16, 16, 16), layers=1, groups=4)))
    with torch.no_grad():
        latents = vae.encode(wave((1, 3, frames, 32, 48), 0.13))
        pixels = vae.decode(wave((1, 16, (frames - 1) // 4 + 1, 4, 6), 0.29))
    assert latents[0, :3, -1, 2, 3].tolist() == pytest.approx(latent, abs=1e-5)
    assert pixels[0, :, -1, 17, 30].tolist() == pytest.approx(pixel, abs=5e-5)
