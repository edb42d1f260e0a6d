import numpy as np
import pytest
import torch

from models.errors import BadRequest
from models.faceswap.arc.align import similarity
from models.faceswap.arc.boost import check, join, split
from models.faceswap.arc.painter import HostPainter
from models.faceswap.arc.region import cut
from models.faceswap.arc.tensors import TensorPainter

POINTS = np.array([[[196, 112], [247, 110], [223, 140], [203, 167], [246, 165]]], np.float32)
LATENT = np.zeros(512, np.float32)


class Unchanged:
    """A network that gives back what it gets, and notes how much that was."""

    name = "unchanged"
    device = "cpu"

    def __init__(self):
        self.ran = 0

    def run(self, crops, latents):
        assert crops.shape[1:] == (3, 128, 128)
        assert len(latents) == len(crops)
        self.ran += len(crops)
        return crops

    run_tensors = run


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_copies_are_whole_small_faces_and_join_again(k, kind):
    crops = kind(np.random.default_rng(0).random((3, 3, 8 * k, 8 * k), np.float32))
    copies = split(crops, k)
    assert tuple(copies.shape) == (3 * k * k, 3, 8, 8)
    assert (copies[k * k] == crops[1, :, ::k, ::k]).all()
    assert (join(copies, k) == crops).all()


def test_other_factors_are_refused():
    with pytest.raises(BadRequest, match="1, 2, 4 times, got 3"):
        check(3)


def error(patch, picture):
    """Mean difference of the painted pixels from what is there."""
    inside = np.s_[patch.top : patch.top + patch.alpha.shape[0], patch.left : patch.left + patch.alpha.shape[1]]
    return np.abs(patch.pixels.astype(int) - picture[inside])[patch.alpha > 0.99].mean()


@pytest.mark.parametrize("make", [HostPainter, TensorPainter])
@pytest.mark.parametrize(("boost", "runs"), [(1, 1), (2, 4), (4, 16)])
def test_paints_finer_and_in_the_same_place(astronaut, make, boost, runs):
    large = np.ascontiguousarray(np.repeat(np.repeat(astronaut, 2, axis=0), 2, axis=1))  # a face of more pixels than one run has
    network = Unchanged()
    (patch,) = make(network).patches(large[None], 2 * POINTS, LATENT, boost)
    (plain,) = make(network).patches(large[None], 2 * POINTS, LATENT)
    assert network.ran == runs + 1
    assert np.abs(np.subtract([patch.top, patch.left, *patch.alpha.shape], [plain.top, plain.left, *plain.alpha.shape])).max() <= 3
    assert error(patch, large) <= error(plain, large) * (1.01 if boost == 1 else 0.75)  # the frame's own detail survives


def test_a_crop_at_twice_the_size_shows_the_same_place(astronaut):
    (small,), (large,) = similarity(POINTS, 128), similarity(POINTS, 256)
    one, two = cut(astronaut, small, 128), cut(astronaut, large, 256)
    assert np.abs(two[::2, ::2].astype(int) - one).mean() < 3
