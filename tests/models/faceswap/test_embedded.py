from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.errors import NoFaceFound
from models.faceswap.engine import Face
from models.faceswap.geometry import face_width
from models.faceswap.paste import paste


@pytest.fixture(scope="module")
def portrait(engine, source):
    return engine.read_source(source)


@pytest.fixture(scope="module")
def face(engine, astronaut):
    return engine.detect(astronaut[None])[0][0]


def swap(engine, frame, face, portrait):
    (patch,) = engine.paint(frame[None], [face], portrait)
    swapped = frame.copy()
    paste(swapped, patch)
    return swapped, patch


def test_changes_the_face_and_nothing_around_it(engine, astronaut, face, portrait):
    swapped, patch = swap(engine, astronaut, face, portrait)
    changed = np.abs(swapped.astype(int) - astronaut).max(axis=-1)
    left, top, right, bottom = face.box.astype(int)
    outside = changed.copy()
    outside[top - 2 : bottom + 3, left - 2 : right + 3] = 0
    assert outside.max() == 0
    assert (changed[top:bottom, left:right] > 8).mean() > 0.3
    assert 0 <= patch.alpha.min() < 0.01
    assert patch.alpha.max() > 0.98


def test_the_edge_of_the_face_is_not_seen(engine, astronaut, face, portrait):
    _, patch = swap(engine, astronaut, face, portrait)
    for edge in (patch.alpha[0], patch.alpha[-1], patch.alpha[:, 0], patch.alpha[:, -1]):
        assert edge.max() < 0.1
    assert np.abs(np.diff(patch.alpha, axis=0)).max() < 0.3


def test_the_painted_face_has_the_targets_light_and_pose(engine, astronaut, face, portrait):
    dim = (astronaut * 0.5).astype(np.uint8)
    for frame in (astronaut, dim):
        swapped, _ = swap(engine, frame, face, portrait)
        cheeks = np.round(face.landmarks[[50, 280, 101, 330], :2]).astype(int)
        before = np.mean([frame[y - 4 : y + 5, x - 4 : x + 5].mean() for x, y in cheeks])
        after = np.mean([swapped[y - 4 : y + 5, x - 4 : x + 5].mean() for x, y in cheeks])
        assert after == pytest.approx(before, rel=0.12)
        found = engine.detect(swapped[None])[0][0]
        assert np.linalg.norm(found.landmarks[[33, 263, 1]] - face.landmarks[[33, 263, 1]], axis=1).max() < 0.1 * face_width(face.landmarks)


def test_the_targets_own_mouth_and_eyes_show_in_the_openings(engine, astronaut, face):
    own = engine.read_source(astronaut)
    loud = astronaut.copy()
    teeth = np.round(face.landmarks[[13, 14], :2].mean(axis=0)).astype(int)
    loud[teeth[1] - 1 : teeth[1] + 2, teeth[0] - 4 : teeth[0] + 5] = (0, 255, 0)
    swapped, _ = swap(engine, loud, face, own)
    assert swapped[teeth[1], teeth[0], 1] > 200


def turned(face: Face, degrees: float) -> Face:
    """`face` turned to the side so that it looks past the viewer by `degrees`."""
    middle = face.landmarks.mean(axis=0)
    own = np.degrees(np.arctan2(*(face.landmarks[454] - face.landmarks[234])[[2, 0]]))
    rotation = Rotation.from_euler("y", -degrees - own, degrees=True)
    return Face(face.box, (rotation.apply(face.landmarks - middle) + middle).astype(np.float32), 1.0)


@pytest.mark.parametrize("degrees", [80, 58, -58, -80])
def test_a_face_turned_as_far_as_the_mesh_can_tell_is_left_alone(engine, astronaut, face, portrait, degrees):
    assert swap(engine, astronaut, turned(face, degrees), portrait)[1].alpha.size == 0


def test_a_face_that_turns_away_fades_out_step_by_step(engine, astronaut, face, portrait):
    shown = [swap(engine, astronaut, turned(face, degrees), portrait)[1].alpha.max() for degrees in (40, 50, 52, 54)]
    assert shown[0] > 0.9
    assert all(0.05 < before - after < 0.5 for before, after in pairwise(shown)), shown


@pytest.mark.parametrize("shift", [(-170, 0), (240, 0), (0, -110), (0, 180), (2000, 0)])
def test_a_face_cut_off_by_the_frame_is_painted_as_far_as_it_is_seen(engine, astronaut, face, portrait, shift):
    landmarks = face.landmarks + np.float32([*shift, 0])
    frame = np.full_like(astronaut, 128)
    swapped, patch = swap(engine, frame, Face(face.box, landmarks, 1.0), portrait)
    assert swapped.shape == frame.shape
    assert patch.top >= 0
    assert patch.left >= 0
    assert patch.top + patch.alpha.shape[0] <= 320
    assert patch.left + patch.alpha.shape[1] <= 512


def test_the_mask_does_not_end_where_the_frame_cuts_the_face(engine, astronaut, face, portrait):
    landmarks = face.landmarks - np.float32([225, 0, 0])  # the frame's left edge runs through the nose
    (patch,) = engine.paint(astronaut[None], [Face(face.box, landmarks, 1.0)], portrait)
    nose = round(float(face.landmarks[1, 1])) - patch.top
    assert patch.left == 0
    assert patch.alpha[nose, 0] > 0.95


@pytest.mark.parametrize("kind", ["read-only", "view"])
def test_takes_frames_it_may_not_write_to(engine, astronaut, face, portrait, kind):
    expected, _ = swap(engine, astronaut, face, portrait)
    if kind == "view":
        frame = np.repeat(astronaut, 2, axis=2)[:, :, ::2]
    else:
        frame = astronaut.copy()
        frame.setflags(write=False)
    (patch,) = engine.paint(frame[None], [face], portrait)
    again = astronaut.copy()
    paste(again, patch)
    np.testing.assert_array_equal(again, expected)


def test_a_source_without_a_face_is_refused():
    from models.faceswap.embedded import EmbeddedEngine

    with pytest.raises(NoFaceFound, match="source picture"):
        EmbeddedEngine().read_source(np.zeros((200, 200, 3), np.uint8))


def test_the_largest_face_is_the_source(engine, crowd):
    (largest, *_) = engine.detect(crowd[None])[0]
    portrait = engine.read_source(crowd)
    assert portrait.textures[0].width == pytest.approx(face_width(largest.landmarks), rel=0.05)
