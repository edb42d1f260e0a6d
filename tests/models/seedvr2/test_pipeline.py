import numpy as np

from models.runner import Call
from models.seedvr2.loading import Networks, load
from models.seedvr2.pipeline import restore
from models.seedvr2.tiling import Tiling


def test_bfloat16_as_on_a_card_gives_about_the_same(checkpoint):
    """The dtypes of a card, on the CPU: nothing mixes them up, and the picture differs by little."""

    def picture(networks):
        pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
        out = restore(networks, pixels, (64, 96), seed=1, colour="lab", tiles=Tiling(64, 16), call=Call())
        return out.astype(np.int16)

    exact = load([checkpoint], "cpu")
    networks = load([checkpoint], "cpu")
    positions = [block.attn.rope.rope for block in networks.dit.blocks]
    kept = [position.freqs for position in positions]
    half = Networks(networks.dit.bfloat16(), networks.vae.bfloat16(), networks.prompt.bfloat16())
    for position, freqs in zip(positions, kept, strict=True):
        position.freqs = freqs
    error = np.abs(picture(half) - picture(exact))
    assert 0 < error.mean() < 8
