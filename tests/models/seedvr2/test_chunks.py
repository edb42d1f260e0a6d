import numpy as np
import pytest

from models.runner import Frames
from models.seedvr2.chunks import in_chunks


def clip(frames, sizes):
    """`frames` frames, each of one value, arriving in pieces of `sizes`."""
    pixels = np.arange(frames, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    times = np.arange(frames) / 16
    begin = 0
    while begin < frames:
        for size in sizes:
            if begin < frames:
                yield Frames(pixels[begin : begin + size], times[begin : begin + size])
            begin += size


@pytest.mark.parametrize("frames", [*range(1, 13), 21, 22, 60])
@pytest.mark.parametrize("sizes", [(1,), (100,), (4, 7)])
def test_nothing_is_lost_or_doubled(frames, sizes):
    lengths = []

    def restore(pixels):
        lengths.append(len(pixels))
        return pixels

    out = list(in_chunks(clip(frames, sizes), restore, length=5, overlap=2))
    assert np.concatenate([part.pixels for part in out])[:, 0, 0, 0].tolist() == list(range(frames))
    assert np.concatenate([part.times_s for part in out]).tolist() == [i / 16 for i in range(frames)]
    assert max(lengths) <= 5
    assert len(lengths) == max(1, -(-(frames - 2) // 3))


def test_no_frames_give_none():
    assert list(in_chunks(iter([]), lambda pixels: pixels, length=5, overlap=2)) == []


def test_neighbours_fade_into_each_other():
    chunk = iter([0, 90])
    out = list(in_chunks(clip(8, (8,)), lambda pixels: np.full_like(pixels, next(chunk)), length=5, overlap=2))
    assert np.concatenate([part.pixels for part in out])[:, 0, 0, 0].tolist() == [0, 0, 0, 30, 60, 90, 90, 90]


def test_frames_leave_as_soon_as_the_next_chunk_has_begun():
    taken = 0

    def counted():
        nonlocal taken
        for frames in clip(30, (1,)):
            taken += 1
            yield frames

    next(in_chunks(counted(), lambda pixels: pixels, length=5, overlap=2))
    assert taken == 6
