import pytest
import torch

from models.errors import Cancelled
from models.seedvr2.attention import Windows
from models.seedvr2.loading import load
from models.seedvr2.windows import layout


@pytest.fixture(scope="module")
def networks(checkpoint):
    return load([checkpoint], "cpu")


def velocity(networks, shape=(2, 6, 10), on_block=None):
    latents = torch.randn(*shape, 33, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return networks.dit(latents, networks.prompt, 1000.0, on_block)


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 40, 60), (3, 6, 10)])
def test_any_even_size_goes(networks, shape):
    out = velocity(networks, shape)
    assert out.shape == (*shape, 16)
    assert out.isfinite().all()


def test_each_block_is_reported(networks):
    seen = []
    velocity(networks, on_block=lambda *done: seen.append(done))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_stopping_at_a_block_leaves_nothing_behind(networks):
    before = velocity(networks)

    def stop(*done):
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        velocity(networks, on_block=stop)
    assert torch.equal(velocity(networks), before)


def test_the_prompt_is_seen(networks):
    before = velocity(networks)
    with torch.no_grad():
        other = networks.dit(
            torch.randn(2, 6, 10, 33, generator=torch.Generator().manual_seed(0)), torch.zeros_like(networks.prompt), 1000.0
        )
    assert not torch.allclose(other, before)


def test_tokens_far_apart_in_a_large_picture_do_not_meet_in_one_block(networks):
    """Only windows attend: a change in one corner reaches as many windows as there are blocks, not the whole picture."""
    latents = torch.randn(1, 90, 160, 33, generator=torch.Generator().manual_seed(0))
    changed = latents.clone()
    changed[:, :2, :2] += 1
    block = networks.dit.blocks[0]
    windows = Windows.on(latents.device, layout((1, 45, 80), shifted=False))
    with torch.no_grad():
        emb, text = networks.dit.emb_in(1000.0), networks.dit.txt_in(networks.prompt)
        results = []
        for clip in (latents, changed):
            tokens = clip.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3).flatten(3)
            video, _ = block(networks.dit.vid_in(tokens).flatten(0, 2), text, emb, windows)
            results.append(video.view(45, 80, -1))
    same = (results[0] == results[1]).all(-1)
    assert not same[:15, :27].any()
    assert same[15:].all()
    assert same[:, 27:].all()
