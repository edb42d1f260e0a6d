import numpy as np
import pytest
from scipy.signal import savgol_filter

from models.faceswap.engine import Face
from models.faceswap.smoothing import fit_weights, smooth
from models.faceswap.tracker import Seen, Tracked

FRAME = np.zeros((4, 4, 3), np.uint8)


def face(values):
    return Face(np.resize(values, 4).astype(np.float32), np.reshape(values, (-1, 2)).astype(np.float32), 1.0)


def tracked(track, begins=(0,)):
    number, items = -1, []
    for i, values in enumerate(track):
        number += i in begins
        items.append(Tracked(FRAME, i / 16, () if values is None else (Seen(number, 0, face(values)),)))
    return items


def landmarks(items):
    return np.stack([item.faces[0].face.landmarks.ravel() for item in items])


@pytest.fixture
def track():
    return np.random.default_rng(0).normal(size=(40, 6)).cumsum(axis=0)


def test_equals_the_filter_over_the_whole_clip(track):
    smoothed = landmarks(smooth(tracked(track)))
    whole = savgol_filter(track, 7, 2, axis=0)
    np.testing.assert_allclose(smoothed[3:-3], whole[3:-3], atol=1e-4)


def test_ends_follow_the_parabola_through_the_frames_there_are(track):
    smoothed = landmarks(smooth(tracked(track)))
    first = np.polynomial.polynomial.polyfit(np.arange(4), track[:4], 2)[0]
    last = np.polynomial.polynomial.polyfit(np.arange(-3, 1), track[-4:], 2)[0]
    np.testing.assert_allclose(smoothed[[0, -1]], [first, last], atol=1e-4)


def test_motion_without_shaking_is_kept():
    t = np.arange(20.0)
    parabola = np.stack([3 * t - 0.2 * t**2, 40 + t], axis=1)
    np.testing.assert_allclose(landmarks(smooth(tracked(parabola))), parabola, atol=1e-3)


def test_holds_back_three_frames_at_most(track):
    taken = 0

    def watched():
        nonlocal taken
        for item in tracked(track):
            taken += 1
            yield item

    for given, item in enumerate(smooth(watched())):
        assert item.time_s == given / 16
        assert taken <= given + 4


def test_nothing_is_smoothed_across_a_new_face_or_a_gap(track):
    broken = [*track[:10], *(track[10:20] + 500), None, *(track[20:30] - 500)]
    parts = [track[:10], track[10:20] + 500, track[20:30] - 500]
    smoothed = [item for item in smooth(tracked(broken, begins=(0, 10, 20, 21))) if item.faces]
    alone = [landmarks(smooth(tracked(part))) for part in parts]
    np.testing.assert_array_equal(landmarks(smoothed), np.concatenate(alone))


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_short_tracks_come_out(track, length):
    smoothed = landmarks(smooth(tracked(track[:length])))
    assert smoothed.shape == (length, 6)
    if length <= 2:
        np.testing.assert_allclose(smoothed, track[:length], atol=1e-4)


def test_tracks_side_by_side_are_steadied_as_if_alone(track):
    other = track[::-1] + 300
    one, two = tracked(track), tracked(other)
    both = [
        Tracked(FRAME, a.time_s, (a.faces[0], Seen(7, 1, b.faces[0].face)) if 5 <= i < 30 else a.faces)
        for i, (a, b) in enumerate(zip(one, two, strict=True))
    ]
    out = list(smooth(both))
    np.testing.assert_array_equal(landmarks(out), landmarks(smooth(one)))
    beside = np.stack([item.faces[1].face.landmarks.ravel() for item in out[5:30]])
    np.testing.assert_array_equal(beside, landmarks(smooth(tracked(other[5:30]))))
    assert [len(item.faces) for item in out] == [1] * 5 + [2] * 25 + [1] * 10


def test_weights_sum_to_one():
    for before in range(4):
        for after in range(4):
            assert fit_weights(before, after).sum() == pytest.approx(1, abs=1e-5)
