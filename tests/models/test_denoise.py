import numpy as np
import pytest

from models.denoise import as_frames, check_size, generators
from models.errors import BadRequest
from models.task import TextToImage


@pytest.mark.parametrize(
    ("width", "height", "multiple", "nearest"),
    [(70, 48, 16, "64x48"), (72, 48, 16, "80x48"), (0, 48, 16, "16x48"), (1023, 1025, 8, "1024x1024"), (-5, 3, 8, "8x8")],
)
def test_a_bad_size_names_the_nearest_good_one(width, height, multiple, nearest):
    with pytest.raises(BadRequest, match=f"{width}x{height}.*{nearest}"):
        check_size(width, height, multiple)


def test_a_good_size_passes():
    check_size(1024, 768, 16)


def test_seed_zero_is_a_seed_and_each_item_has_its_own():
    import torch

    shape = {"prompt": "", "width": 8, "height": 8, "steps": 1, "guidance": 0.0}
    zero, one, again = generators([TextToImage(seed=seed, **shape) for seed in (0, 1, 0)])
    drawn = [torch.randn(4, generator=generator) for generator in (zero, one, again)]
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_pictures_are_rounded_and_clamped():
    import torch

    values = torch.tensor([-0.1, 0.5, 1.2]).view(1, 3, 1, 1)
    (frames,) = as_frames(values)
    assert frames.pixels.tolist() == [[[[0, 128, 255]]]]
    assert frames.pixels.dtype == np.uint8
