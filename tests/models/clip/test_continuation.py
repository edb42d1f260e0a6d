import numpy as np
import pytest

from models.clip.continuation import Segment, in_segments, lengths


@pytest.mark.parametrize("total", [1, 5, 81, 85, 97, 129, 193, 257])
@pytest.mark.parametrize(("longest", "overlap"), [(81, 9), (121, 9), (17, 5)])
def test_runs_add_up_and_fit_the_model(total, longest, overlap):
    runs = lengths(total, longest=longest, overlap=overlap)
    assert sum(runs) - overlap * (len(runs) - 1) == total
    assert all(run <= longest and run % 4 == 1 for run in runs)
    assert max(runs) - min(runs) <= 4


def ramp(start: int, count: int) -> np.ndarray:
    """Frames that get brighter by one each."""
    return np.broadcast_to((start + np.arange(count, dtype=np.uint8))[:, None, None, None], (count, 8, 8, 3)).copy()


@pytest.mark.parametrize("off", [0, 40])
def test_a_seam_does_not_jump_even_where_the_model_did_not_keep_its_frames(off):
    seen: list[Segment] = []

    def make(segment: Segment):
        seen.append(segment)
        start = 0 if segment.tail is None else int(segment.tail[0, 0, 0, 0]) + off
        pixels = ramp(start, segment.frames)
        yield pixels[:1]
        yield from (pixels[at : at + 4] for at in range(1, segment.frames, 4))

    frames = np.concatenate(list(in_segments(make, 33, longest=21, overlap=9)))
    assert len(frames) == 33
    assert [segment.index for segment in seen] == [0, 1]
    assert np.array_equal(seen[1].tail, ramp(int(seen[1].tail[0, 0, 0, 0]), 9))
    steps = np.abs(np.diff(frames[:, 0, 0, 0].astype(int)))
    assert steps.max() <= 1 + off / 10 + 1  # the difference is spread over the nine shared frames
    if not off:
        assert np.array_equal(frames, ramp(0, 33))


def test_frames_leave_before_the_segment_ends():
    made = 0

    def make(segment: Segment):
        nonlocal made
        for at in range(0, segment.frames):
            made += 1
            yield ramp(at, 1)

    clip = in_segments(make, 33, longest=21, overlap=5)
    next(clip)
    assert made == 6
