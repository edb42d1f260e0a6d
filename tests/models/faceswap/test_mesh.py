import cv2
import numpy as np
import pytest

from models.faceswap.mesh import Mesh, Region

# Of the face in scikit-image's astronaut, read off the picture: the person's right eye, left eye, nose, right and left corner of the mouth.
ASTRONAUT_POINTS = np.array([[204, 101], [247, 104], [223, 130], [203, 141], [246, 142]])
FEATURES = ((33, 133), (263, 362), (1,), (61,), (291,))  # landmarks whose mean is each of the five points


def features(landmarks):
    return np.stack([landmarks[list(numbers), :2].mean(axis=0) for numbers in FEATURES])


@pytest.mark.parametrize("turn", [0, 35, -90, 180])
@pytest.mark.parametrize("scale", [0.6, 1.0, 3.0])
def test_landmarks_lie_on_the_features_at_any_turn_and_size(astronaut, turn, scale):
    matrix = cv2.getRotationMatrix2D((223, 125), turn, scale)
    matrix[:, 2] += (400 - 223, 400 - 125)
    frame = cv2.warpAffine(astronaut, matrix, (800, 800), flags=cv2.INTER_AREA)
    expected = ASTRONAUT_POINTS @ matrix[:, :2].T + matrix[:, 2]
    landmarks, score = Mesh().read(frame, Region((400, 400), 160 * scale, -np.deg2rad(turn)))
    assert score > 0.9
    assert np.abs(features(landmarks) - expected).max() < 4 * scale


def test_the_region_of_landmarks_is_a_fixed_point(engine, astronaut):
    (face,) = engine.detect(astronaut[None])[0]
    again = engine.follow(astronaut, face)
    assert np.abs(again.landmarks - face.landmarks).max() < 1.0


def test_a_wall_is_no_face():
    wall = np.random.default_rng(0).integers(90, 140, (300, 300, 3), np.uint8)
    assert Mesh().read(wall, Region((150, 150), 200, 0.0))[1] < 0.5
