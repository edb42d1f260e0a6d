import copy

import pytest
import torch
from torch.nn.functional import avg_pool3d, interpolate

from models.errors import Cancelled
from models.seedvr2 import tiling
from models.seedvr2.layers import FrameAttention, FrameNorm
from models.seedvr2.tiling import Tiling


class Local:
    """Stands for an autoencoder without any reach: tiles must then give the whole exactly."""

    def __init__(self):
        self.sides = []

    def encode(self, pixels):
        self.sides.append(max(pixels.shape[3:]))
        return avg_pool3d(pixels, (1, 8, 8))

    def decode(self, latents):
        self.sides.append(max(latents.shape[3:]) * 8)
        return interpolate(latents, scale_factor=(1, 8, 8))


@pytest.mark.parametrize("size", [(64, 64), (96, 208), (112, 64), (64, 65 * 16)])
def test_tiles_are_bounded_and_cover_the_whole(size):
    vae, tiles, seen = Local(), Tiling(64, 16), []
    pixels = torch.randn(1, 3, 5, *size)
    latents = tiling.encode(vae, pixels, tiles, lambda *done: seen.append(done))
    assert torch.allclose(latents, avg_pool3d(pixels, (1, 8, 8)), atol=1e-5)
    again = tiling.decode(vae, latents, tiles, lambda *done: None)
    assert torch.allclose(again, interpolate(latents, scale_factor=(1, 8, 8)), atol=1e-5)
    assert max(vae.sides) <= 64
    assert seen == [(i + 1, len(seen)) for i in range(len(seen))]


def test_tiles_of_the_autoencoder_are_close_to_the_whole(runner, monkeypatch):
    """Close in all, and almost equal but for what looks at the whole picture: the statistics of the norms, and attention."""
    vae = copy.deepcopy(runner.networks.vae)
    pixels = (torch.randn(1, 3, 1, 192, 256, generator=torch.Generator().manual_seed(0)) / 2).clamp(-1, 1)

    def errors():
        with torch.inference_mode():
            latents = vae.encode(pixels)
            whole = vae.decode(latents)
            encoded = tiling.encode(vae, pixels, Tiling(128, 64), lambda *done: None)
            decoded = tiling.decode(vae, latents, Tiling(128, 64), lambda *done: None)
        return [((tiles - all_).abs().mean() / all_.std()).item() for tiles, all_ in ((encoded, latents), (decoded, whole))]

    assert max(errors()) < 0.3
    monkeypatch.setattr(FrameNorm, "forward", lambda self, input: input)
    monkeypatch.setattr(FrameAttention, "forward", lambda self, x: x)
    assert max(errors()) < 0.02


def test_a_cancel_stops_between_tiles():
    vae, done = Local(), []

    def report(*step):
        done.append(step)
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        tiling.encode(vae, torch.randn(1, 3, 1, 256, 256), Tiling(64, 16), report)
    assert len(done) == len(vae.sides) == 1


@pytest.mark.parametrize(("tile", "overlap"), [(64, 64), (100, 16), (64, 0), (64, 12)])
def test_tiles_that_cannot_be_blended_are_refused(tile, overlap):
    with pytest.raises(ValueError, match="multiples of 8"):
        Tiling(tile, overlap)
