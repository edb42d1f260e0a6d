import numpy as np
import pytest
import torch
from skimage import data

from tools.tiny_weights import camera, motion


@pytest.mark.parametrize("name", [name for name in camera.MOVES if name != "drift"])
def test_a_rendered_move_is_recognised(name: str) -> None:
    picture = torch.from_numpy(data.astronaut()[100:388, :].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    moves = torch.tensor([[float(move == name) for move in camera.MOVES]])
    frames = camera.render(picture, camera.Named(moves, torch.zeros(1, 2)).at(torch.arange(0, 33, 4)[None] * 1.0))
    pixels = ((frames[0] + 1) * 127.5).round().byte().permute(1, 2, 3, 0).numpy()
    assert motion.name(motion.watch(pixels, step=1)) == name


def test_noise_is_no_move() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 128, 192, 3), dtype=np.uint8)
    assert motion.name(motion.watch(frames, step=1)) not in camera.MOVES[:6]
