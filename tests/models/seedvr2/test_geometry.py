import pytest
import torch

from models.errors import BadRequest
from models.seedvr2.geometry import padded, resize, target_size


@pytest.mark.parametrize(
    ("size", "resolution", "most", "multiple", "expected"),
    [
        ((512, 512), 1080, 4000, 1, (1080, 1080)),
        ((480, 832), 1080, 4000, 1, (1080, 1872)),
        ((832, 480), 1080, 4000, 1, (1872, 1080)),
        ((480, 832), 1080, 1280, 1, (738, 1280)),
        ((480, 833), 719, 4000, 1, (719, 1248)),
        ((480, 833), 719, 4000, 2, (720, 1248)),
        ((2160, 3840), 720, 4000, 1, (720, 1280)),
    ],
)
def test_target_size(size, resolution, most, multiple, expected):
    assert target_size(*size, resolution=resolution, max_resolution=most, multiple=multiple) == expected


@pytest.mark.parametrize(
    ("size", "resolution", "most", "message"),
    [
        ((512, 512), 0, 4000, "resolution must be 16 to 8192 pixels, got 0"),
        ((512, 512), 9000, 9000, "resolution must be"),
        ((512, 512), 1080, 5, "max_resolution must be"),
        ((10, 4000), 1080, 4000, "raise max_resolution"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(size, resolution, most, message):
    with pytest.raises(BadRequest, match=message):
        target_size(*size, resolution=resolution, max_resolution=most)


@pytest.mark.parametrize(("frames", "expected"), [(1, 1), (2, 5), (5, 5), (6, 9), (21, 21)])
def test_padding_repeats_the_end(frames, expected):
    clip = torch.randn(frames, 3, 17, 32)
    full = padded(clip)
    assert full.shape == (expected, 3, 32, 32)
    assert torch.equal(full[:frames, :, :17], clip)
    assert torch.equal(full[-1, :, :17], clip[-1])
    assert torch.equal(full[0, :, -1], clip[0, :, -1])


def test_resizing_stays_in_range():
    edges = torch.ones(1, 3, 8, 8)
    edges[..., ::2] = -1
    assert resize(edges, (32, 32)).abs().max() <= 1
    assert resize(edges, (8, 8)) is edges
