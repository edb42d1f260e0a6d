import pytest
import torch
from torch.nn.functional import conv3d

from models.seedvr2.config import VaeConfig
from models.seedvr2.layers import CausalConv3d
from models.seedvr2.vae import SeedVR2Autoencoder


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return SeedVR2Autoencoder(VaeConfig(channels=(8, 16, 16, 16), layers=1, groups=4)).eval().requires_grad_(False)


def test_slices_give_what_the_whole_gives(vae):
    clip, latents = torch.randn(1, 3, 13, 16, 24), torch.randn(1, 16, 4, 2, 3)
    assert torch.allclose(vae.encode(clip), vae.encoder(clip, None)[:, :16], atol=1e-5)
    assert torch.allclose(vae.decode(latents), vae.decoder(latents, None), atol=1e-5)


def test_sizes(vae):
    latents = vae.encode(torch.randn(1, 3, 9, 32, 48))
    assert latents.shape == (1, 16, 3, 4, 6)
    assert vae.decode(latents).shape == (1, 3, 9, 32, 48)


def test_no_frame_sees_a_later_one(vae):
    clip = torch.randn(1, 3, 13, 16, 16)
    changed = clip.clone()
    changed[:, :, 9:] = 0
    before, after = vae.encode(clip), vae.encode(changed)
    assert torch.equal(before[:, :, :3], after[:, :, :3])
    assert not torch.allclose(before[:, :, 3], after[:, :, 3])


def test_a_clip_leaves_nothing_behind_for_the_next(vae):
    clip = torch.randn(1, 3, 9, 16, 16)
    first = vae.encode(clip)
    vae.encode(torch.randn(1, 3, 9, 16, 16))
    assert torch.equal(vae.encode(clip), first)


@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2)])
def test_a_picture_is_convolved_as_if_it_stood_still(stride):
    conv = CausalConv3d(4, 6, (3, 3, 3), stride=stride)
    picture = torch.randn(1, 4, 1, 9, 9)
    still = conv3d(picture.expand(-1, -1, 3, -1, -1), conv.weight, conv.bias, stride, conv.padding)
    assert torch.allclose(conv(picture), still, atol=1e-5)
