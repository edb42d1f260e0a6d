import pytest
import torch

from models.seedvr2.config import SEEDVR2_3B, SEEDVR2_7B
from models.seedvr2.rope import WindowRope
from models.seedvr2.windows import layout

SHAPE = (2, 20, 36)


@pytest.fixture(params=[SEEDVR2_3B, SEEDVR2_7B], ids=["3b", "7b"])
def rope(request):
    return WindowRope(request.param.dit)


def tokens(count):
    return torch.ones(1, 2, 128).expand(count, -1, -1)


def test_turning_keeps_lengths_and_the_channels_left_over(rope):
    video, _ = rope(tokens(2 * 20 * 36), tokens(8), layout(SHAPE, shifted=True))
    turned = 126 if rope.joint else 60
    assert torch.allclose(video.norm(dim=-1), torch.tensor(128.0).sqrt(), atol=1e-4)
    assert (video[..., turned:] == 1).all()
    assert (video[..., :turned] != 1).any(0).all()


def test_positions_begin_anew_in_each_window(rope):
    cut = layout(SHAPE, shifted=False)
    video, _ = rope(tokens(2 * 20 * 36), tokens(8), cut)
    for batch in cut.batches():
        windows = video[torch.from_numpy(batch)]
        assert torch.equal(windows, windows[:1].expand_as(windows))


def test_text_is_turned_where_it_shares_positions_with_the_video(rope):
    video, text = rope(tokens(2 * 20 * 36), tokens(8), layout(SHAPE, shifted=False))
    assert bool((text == 1).all()) is not rope.joint
    if rope.joint:  # the first video token follows the last text token in time, and is at 0 on the other axes
        angles = 8 * rope.rope.freqs
        assert torch.allclose(video[0, 0, :42:2], angles.cos() - angles.sin(), atol=1e-5)
        assert (video[0, :, 42:] == 1).all()


def test_keys_of_the_checkpoint_are_kept(rope):
    assert [(name, len(buffer)) for name, buffer in rope.named_buffers()] == [("rope.freqs", 21 if rope.joint else 10)]
