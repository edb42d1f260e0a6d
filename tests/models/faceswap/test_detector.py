import numpy as np
import pytest

from models.faceswap.detector import Detector


@pytest.fixture(scope="module")
def detector():
    return Detector()


def test_finds_each_face_once_largest_first(detector, crowd):
    (faces,) = detector.detect(crowd[None])
    assert len(faces) == 6
    areas = [face.area for face in faces]
    assert areas == sorted(areas, reverse=True)


def test_points_lie_on_the_features(detector, astronaut):
    (face,) = detector.detect(astronaut[None])[0]
    right_eye, left_eye, nose, mouth = face.points[:4]
    assert np.abs(right_eye - (204, 101)).max() < 5
    assert np.abs(left_eye - (247, 104)).max() < 5
    assert np.abs(nose - (223, 130)).max() < 6
    assert np.abs(mouth - (225, 146)).max() < 6


def test_a_batch_equals_its_frames_one_by_one(detector, astronaut):
    frames = np.stack([astronaut, np.roll(astronaut, 60, axis=1), np.zeros_like(astronaut)])
    together = detector.detect(frames)
    alone = [detector.detect(frame[None])[0] for frame in frames]
    assert [len(faces) for faces in together] == [1, 1, 0]
    for faces, others in zip(together, alone, strict=True):
        for face, other in zip(faces, others, strict=True):
            np.testing.assert_allclose(face.box, other.box, atol=0.05)


@pytest.mark.parametrize("size", [(320, 320), (1280, 320), (330, 900), (1500, 1200)])
def test_the_box_does_not_depend_on_the_frame_around_it(detector, astronaut, size):
    small = astronaut[:, 60:380]
    frame = np.full((*size, 3), 128, np.uint8)
    frame[:320, :320] = small
    (face,) = detector.detect(frame[None])[0]
    centre = (face.box[:2] + face.box[2:]) / 2 + (60, 0)
    assert np.abs(centre - (226, 123)).max() < 0.2 * (face.box[2] - face.box[0])


def test_noise_is_no_face(detector):
    noise = np.random.default_rng(0).integers(0, 256, (3, 200, 300, 3), np.uint8)
    assert detector.detect(noise) == [[], [], []]
