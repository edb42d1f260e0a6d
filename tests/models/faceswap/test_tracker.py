import numpy as np
import pytest

from models.faceswap.cuts import CutDetector
from models.faceswap.embedded import EmbeddedEngine
from models.faceswap.tracker import Tracker, overlap


class CountingEngine(EmbeddedEngine):
    """The embedded engine, with a count of the frames it was asked to search."""

    def __init__(self) -> None:
        super().__init__()
        self.searched = 0

    def detect(self, frames):
        self.searched += len(frames)
        return super().detect(frames)


@pytest.fixture
def wall(astronaut):
    return np.random.default_rng(0).integers(90, 140, astronaut.shape, np.uint8)


def test_follows_a_moving_face_and_searches_rarely(moving, chunks):
    engine = CountingEngine()
    items = list(Tracker(engine).track(chunks(moving)))
    assert engine.searched == 2  # frames 0 and 16
    assert [item.begins for item in items] == [True] + [False] * 23
    noses = np.stack([item.face.landmarks[1, :2] for item in items])
    drift = noses - noses[0] - np.stack([2 * np.arange(24), np.arange(24) // 2], axis=1)
    assert np.abs(drift).max() < 1.5


def test_how_the_clip_is_cut_into_chunks_does_not_matter(engine, moving, chunks):
    one, other = (list(Tracker(engine).track(chunks(moving, size))) for size in (24, 5))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.face.landmarks, b.face.landmarks)


def test_a_face_that_leaves_and_comes_back_begins_anew(engine, astronaut, wall, chunks):
    clip = np.stack([astronaut] * 3 + [wall] * 4 + [astronaut] * 3)
    items = list(Tracker(engine).track(chunks(clip)))
    assert [item.face is not None for item in items] == [True] * 3 + [False] * 4 + [True] * 3
    assert items[7].begins


def test_a_cut_begins_a_track_with_the_largest_face(engine, astronaut, crowd, chunks):
    scene = np.ascontiguousarray(crowd[:320, :512])
    clip = np.stack([astronaut] * 4 + [scene] * 4)
    items = list(Tracker(engine).track(chunks(clip)))
    assert [item.begins for item in items] == [True, False, False, False, True, False, False, False]
    (largest, *_) = engine.detect(scene[None])[0]
    assert overlap(items[4].face, largest) > 0.9


def test_stays_with_its_face_when_a_larger_one_appears(engine, astronaut, crowd, chunks):
    small = np.ascontiguousarray(crowd[240:560, :300])
    empty = np.tile(small[:, -1:], (1, 512, 1))
    alone, joined = np.concatenate([small, empty], axis=1), np.concatenate([small, astronaut], axis=1)
    items = list(Tracker(engine).track(chunks(np.stack([alone] * 3 + [joined] * 20))))
    centres = [float(item.face.box[[0, 2]].mean()) for item in items if item.face is not None]
    assert len(centres) == 23
    assert max(centres) < 300


def test_cuts_are_seen_and_motion_is_none(moving, crowd):
    detector = CutDetector()
    scene = np.ascontiguousarray(crowd[:320, :512])
    assert not any(detector.is_cut(frame) for frame in moving)
    assert detector.is_cut(scene)
    assert not detector.is_cut(scene)


def test_a_pan_that_gathers_speed_is_no_cut(crowd):
    detector = CutDetector()
    assert not any(
        detector.is_cut(np.ascontiguousarray(crowd[:, x : x + 500])) for x in (0, 10, 30, 60, 110, 180, 260, 340, 420, 500, 580, 660)
    )
