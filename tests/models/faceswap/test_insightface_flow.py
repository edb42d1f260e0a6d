from dataclasses import replace

import cv2
import numpy as np
import pytest

from models.faceswap.arc import flow
from models.faceswap.engine import Face

skimage_data = pytest.importorskip("skimage.data")

POINTS = np.array([[196, 112], [247, 110], [223, 140], [203, 167], [246, 165]], np.float32)
BOX = np.array([170, 60, 285, 205], np.float32)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return skimage_data.astronaut()


def moved(picture: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    matrix = cv2.getRotationMatrix2D((223, 140), degrees, scale)
    matrix[:, 2] += shift
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1]), matrix


@pytest.mark.parametrize(("degrees", "scale", "shift"), [(0, 1, (0, 0)), (4, 1.03, (5, -3)), (-3, 0.97, (-9, 6)), (0, 1, (0.4, 0.3))])
def test_finds_where_the_landmarks_went(picture: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> None:
    frame, matrix = moved(picture, degrees, scale, shift)
    found = flow.follow(frame, flow.seen(picture, Face(BOX, POINTS, 0.9)))
    assert found is not None
    np.testing.assert_allclose(found.landmarks, POINTS @ matrix[:, :2].T + matrix[:, 2], atol=1.0)
    np.testing.assert_allclose(found.box[2:] - found.box[:2], (BOX[2:] - BOX[:2]) * scale, rtol=0.03)
    assert found.score == 0.9


def test_follows_a_face_along_a_path(picture: np.ndarray) -> None:
    face: Face | None = flow.seen(picture, Face(BOX, POINTS, 0.9))
    for step in range(1, 13):
        frame, matrix = moved(picture, 0.8 * step, 1 + 0.006 * step, (3 * step, 2 * step))
        assert face is not None
        face = flow.follow(frame, face)
    assert face is not None
    np.testing.assert_allclose(face.landmarks, POINTS @ matrix[:, :2].T + matrix[:, 2], atol=4.0)


@pytest.mark.parametrize("frame", [np.zeros((512, 512, 3), np.uint8), np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)])
def test_a_cut_loses_the_face(picture: np.ndarray, frame: np.ndarray) -> None:
    assert flow.follow(frame, flow.seen(picture, Face(BOX, POINTS, 0.9))) is None


def test_a_jump_loses_the_face(picture: np.ndarray) -> None:
    frame, _ = moved(picture, 0, 1, (160, 90))
    assert flow.follow(frame, flow.seen(picture, Face(BOX, POINTS, 0.9))) is None


def test_another_frame_size_loses_the_face(picture: np.ndarray) -> None:
    assert flow.follow(picture[:100, :150], flow.seen(picture, Face(BOX, POINTS, 0.9))) is None


def test_a_face_that_was_not_seen_cannot_be_followed(picture: np.ndarray) -> None:
    assert flow.follow(picture, Face(BOX, POINTS, 0.9)) is None


def test_a_face_stays_followable_when_its_landmarks_are_smoothed(picture: np.ndarray) -> None:
    smoothed = replace(flow.seen(picture, Face(BOX, POINTS, 0.9)), landmarks=POINTS + 0.3)
    assert flow.follow(picture, smoothed) is not None


def test_a_face_outside_the_frame_is_left_as_it_is(picture: np.ndarray) -> None:
    outside = Face(BOX + 2000, POINTS + 2000, 0.9)
    assert flow.seen(picture, outside) is outside
