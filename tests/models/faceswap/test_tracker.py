import numpy as np
import pytest

from models.errors import NoFaceFound
from models.faceswap.cuts import CutDetector
from models.faceswap.embedded import EmbeddedEngine
from models.faceswap.tracker import Tracker
from models.task import FaceChoice, SourceFace


class CountingEngine(EmbeddedEngine):
    """The embedded engine, with a count of the frames it was asked to search."""

    def __init__(self) -> None:
        super().__init__()
        self.searched = 0

    def detect(self, frames):
        self.searched += len(frames)
        return super().detect(frames)


def tracker(engine, *choices):
    picture = np.zeros((8, 8, 3), np.uint8)  # the tracker asks who is chosen, not which face they get
    return Tracker(engine, [SourceFace(image=picture, face=choice) for choice in choices or (FaceChoice(),)])


def begins(items):
    tracks = [item.faces[0].track if item.faces else None for item in items]
    return [track is not None and (i == 0 or track != tracks[i - 1]) for i, track in enumerate(tracks)]


@pytest.fixture
def wall(astronaut):
    return np.random.default_rng(0).integers(90, 140, astronaut.shape, np.uint8)


def test_follows_a_moving_face_and_searches_rarely(moving, chunks):
    engine = CountingEngine()
    items = list(tracker(engine).track(chunks(moving)))
    assert engine.searched == 2  # frames 0 and 16
    assert begins(items) == [True] + [False] * 23
    noses = np.stack([item.faces[0].face.landmarks[1, :2] for item in items])
    drift = noses - noses[0] - np.stack([2 * np.arange(24), np.arange(24) // 2], axis=1)
    assert np.abs(drift).max() < 1.5


def test_how_the_clip_is_cut_into_chunks_does_not_matter(engine, moving, chunks):
    one, other = (list(tracker(engine).track(chunks(moving, size))) for size in (24, 5))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.faces[0].face.landmarks, b.faces[0].face.landmarks)


def test_a_face_that_leaves_and_comes_back_begins_anew(engine, astronaut, wall, chunks):
    clip = np.stack([astronaut] * 3 + [wall] * 4 + [astronaut] * 3)
    items = list(tracker(engine).track(chunks(clip)))
    assert [len(item.faces) for item in items] == [1] * 3 + [0] * 4 + [1] * 3
    assert begins(items)[7]


@pytest.fixture
def pair(crowd, astronaut):
    """Collins left of a man from the crowd, and the two the other way round."""
    man = np.ascontiguousarray(crowd[60:380, 900:1212])
    return np.concatenate([astronaut, man], axis=1), np.concatenate([man, astronaut], axis=1)


def centres(items, part=0):
    return [float(seen.face.box[[0, 2]].mean()) for item in items for seen in item.faces if seen.part == part]


def test_a_cut_to_other_people_swaps_nobody(engine, astronaut, crowd, chunks):
    scene = np.ascontiguousarray(crowd[:320, :512])
    clip = np.stack([astronaut] * 4 + [scene] * 4 + [astronaut] * 4)
    items = list(tracker(engine).track(chunks(clip)))
    assert [len(item.faces) for item in items] == [1] * 4 + [0] * 4 + [1] * 4


def test_the_chosen_one_stays_chosen_over_a_cut_that_changes_sides(engine, pair, chunks):
    here, there = pair
    clip = np.stack([here] * 4 + [there] * 4)
    items = list(tracker(engine, FaceChoice(by="left"), FaceChoice(by="right")).track(chunks(clip)))
    assert [len(item.faces) for item in items] == [2] * 8
    woman, man = centres(items, 0), centres(items, 1)
    assert max(woman[:4]) < 512 < min(man[:4])
    assert max(man[4:]) < 312 < min(woman[4:])


def test_stays_with_its_face_when_a_larger_one_appears(engine, astronaut, crowd, chunks):
    small = np.ascontiguousarray(crowd[240:560, :300])
    empty = np.tile(small[:, -1:], (1, 512, 1))
    alone, joined = np.concatenate([small, empty], axis=1), np.concatenate([small, astronaut], axis=1)
    items = list(tracker(engine).track(chunks(np.stack([alone] * 3 + [joined] * 20))))
    found = centres(items)
    assert len(found) == 23
    assert max(found) < 300


@pytest.mark.parametrize(
    ("choice", "rank"),
    [(FaceChoice(by="left"), 0), (FaceChoice(by="right"), -1), (FaceChoice(by="index", index=2), 2), (FaceChoice(by="index", index=0), 0)],
)
def test_chooses_by_place(engine, crowd, chunks, choice, rank):
    (item,) = tracker(engine, choice).track(chunks(crowd[None]))
    across = sorted(float(face.box[[0, 2]].mean()) for face in engine.detect(crowd[None])[0])
    assert centres([item]) == [across[rank]]


def test_all_means_everybody_whom_no_other_choice_names(engine, crowd, chunks):
    (item,) = tracker(engine, FaceChoice(by="all"), FaceChoice(by="left")).track(chunks(crowd[None]))
    faces = engine.detect(crowd[None])[0]
    assert len(item.faces) == len(faces) > 3
    assert centres([item], 1) == [min(float(face.box[[0, 2]].mean()) for face in faces)]


def test_a_number_past_the_last_face_means_nobody(engine, crowd, chunks):
    (item,) = tracker(engine, FaceChoice(by="index", index=40)).track(chunks(crowd[None]))
    assert item.faces == ()


def test_finds_the_person_of_a_reference_picture(engine, pair, crowd, astronaut, chunks):
    here, _ = pair
    other = astronaut[:, ::-1].copy()  # another picture of her
    (item,) = tracker(engine, FaceChoice(by="reference", reference=other)).track(chunks(here[None]))
    assert centres([item])[0] < 512
    stranger = np.ascontiguousarray(crowd[:, :420])
    (item,) = tracker(engine, FaceChoice(by="reference", reference=stranger)).track(chunks(here[None]))
    assert item.faces == ()


def test_a_reference_without_a_face_is_an_error(engine, wall):
    with pytest.raises(NoFaceFound):
        tracker(engine, FaceChoice(by="reference", reference=wall))


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
