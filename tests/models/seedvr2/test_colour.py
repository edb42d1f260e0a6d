import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from skimage.data import astronaut

from models.seedvr2.colour import blur, from_lab, to_lab, transfer


@pytest.fixture(scope="module")
def original():
    return torch.tensor(astronaut()[::4, ::4]).permute(2, 0, 1).float() / 127.5 - 1


@pytest.fixture(scope="module")
def tinted(original):
    """The original, darker and redder, with detail of its own."""
    detail = 0.05 * torch.randn(original.shape, generator=torch.Generator().manual_seed(0))
    return (original * 0.7 + torch.tensor([0.2, -0.1, -0.2])[:, None, None] + detail).clamp(-1, 1)


@pytest.mark.parametrize("colour", ["wavelet", "lab"])
def test_colours_come_back(original, tinted, colour):
    def distance(frame):
        return (frame.mean((1, 2)) - original.mean((1, 2))).abs().max()

    restored = transfer(tinted, original, colour)
    assert distance(restored) < 0.1 * distance(tinted)
    assert restored.abs().max() <= 1


def test_wavelets_keep_new_detail_and_old_low_frequencies(original, tinted):
    restored = transfer(tinted, original, "wavelet")
    inside = (restored.abs() < 1).all(0)  # clamping is a change of its own
    assert torch.allclose((restored - blur(original))[:, inside], (tinted - blur(tinted))[:, inside], atol=1e-5)
    assert (blur(restored) - blur(original)).abs().mean() < 0.3 * (blur(tinted) - blur(original)).abs().mean()


def test_none_leaves_the_colours(tinted):
    assert torch.equal(transfer(tinted, torch.zeros_like(tinted), "none"), tinted)


def test_lab_is_that_of_scikit_image(original):
    expected = rgb2lab(((original + 1) / 2).permute(1, 2, 0).numpy())
    assert np.allclose(to_lab(original).permute(1, 2, 0).numpy(), expected, atol=0.05)
    assert torch.allclose(from_lab(to_lab(original)), original, atol=1e-3)


def test_equal_pixels_stay_equal(original):
    flat = torch.zeros_like(original)
    assert transfer(flat, flat + 0.25, "lab").flatten(1).std(1).max() < 1e-6
