"""Frames cross without loss, at a fraction of their size."""

import cbor2
import numpy as np
import pytest
from skimage import data

from modal_burst.frames import pack_frames, unpack_frames
from models.errors import NotConfigured
from models.runner import Frames


def panned(count, height, width):
    picture = data.astronaut()
    return Frames(np.stack([picture[i : i + height, 2 * i : 2 * i + width] for i in range(count)]), np.arange(count) / 16)


@pytest.mark.parametrize("shape", [(1, 64, 64), (5, 480, 480), (4, 33, 17), (2, 2, 2)])
def test_not_a_bit_is_lost(shape):
    frames = panned(*shape)
    back = unpack_frames(cbor2.loads(cbor2.dumps(pack_frames(frames))))
    assert back.pixels.dtype == np.uint8
    assert np.array_equal(back.pixels, frames.pixels)
    assert np.array_equal(back.times_s, frames.times_s)


def test_noise_crosses_too():
    frames = Frames(np.random.default_rng(0).integers(0, 256, (3, 40, 56, 3), np.uint8), np.array([0.0, 0.1, 0.15]))
    assert np.array_equal(unpack_frames(pack_frames(frames)).pixels, frames.pixels)


def test_a_clip_shrinks():
    frames = panned(8, 480, 480)
    assert len(pack_frames(frames)["h264"]) < frames.pixels.nbytes / 4


@pytest.mark.parametrize(
    "change", [{"shape": [2, 480, 480]}, {"shape": [5, 480, 482]}, {"shape": [5, 2**20, 2**20]}, {"h264": b"nothing"}, {"times_s": []}]
)
def test_frames_that_are_not_what_they_say_are_refused(change):
    with pytest.raises(NotConfigured):
        unpack_frames(pack_frames(panned(5, 480, 480)) | change)
