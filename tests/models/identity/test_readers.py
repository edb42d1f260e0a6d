import numpy as np
import pytest

from models.errors import NoFaceFound, WeightsMissing
from models.faceswap.engine import Face
from models.identity.face_input import FaceFeatures, Remembering, head_crop
from models.identity.portrait import OvalMask, portrait
from models.identity.readers import AntelopeReader, EmbeddedReader, five_points, project, reader_for
from models.weights import Loading
from tests.models.identity.seeded_reader import KEYPOINTS, picture


@pytest.fixture(scope="module")
def reader():
    return EmbeddedReader()


@pytest.fixture(scope="module")
def features(reader, astronaut):
    return reader.read(astronaut)


def test_a_real_face_is_read(features):
    left_eye, right_eye, nose, left_mouth, right_mouth = features.keypoints
    assert np.allclose(left_eye, [204, 102], atol=6)
    assert np.allclose(right_eye, [246, 104], atol=6)
    assert left_eye[1] < nose[1] < left_mouth[1]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert features.embedding.shape == (512,)
    assert features.embedding.dtype == np.float32
    left, top, right, bottom = features.box
    assert ((features.keypoints >= [left, top]) & (features.keypoints <= [right, bottom])).all()


def test_the_head_is_cut_out_square_with_room_around(features, astronaut):
    side = features.crop.shape[0]
    assert features.crop.shape == (side, side, 3)
    assert side == pytest.approx(1.6 * max(features.box[2:] - features.box[:2]), abs=2)
    beyond = head_crop(astronaut, np.array([-20, -20, 60, 60], np.float32))
    assert beyond.shape == (128, 128, 3)
    assert (beyond[0, 0] == astronaut[0, 0]).all()


def test_a_large_head_is_shrunk():
    shade = np.tile(np.arange(0, 250, 0.1).astype(np.uint8)[:, None, None], (1, 2500, 3))
    crop = head_crop(shade, np.array([700, 700, 1700, 1700], np.float32), room=2.0)
    assert crop.shape == (512, 512, 3)
    assert crop[0, 0, 0] == pytest.approx(20, abs=1)  # row 200
    assert crop[-1, 0, 0] == pytest.approx(220, abs=1)


class Counting:
    name = "counting"
    reads = 0

    def read(self, image):
        self.reads += 1
        if not image.any():
            raise NoFaceFound("none")
        return FaceFeatures(np.full(512, image[0, 0, 0], np.float32), KEYPOINTS, np.zeros(4, np.float32), image)


def test_a_face_is_read_once_while_it_is_remembered():
    counting = Counting()
    reader = Remembering(counting, most=2)
    first, second, third = (picture(person) for person in (1, 2, 3))
    assert reader.read(first) is reader.read(first.copy())
    assert counting.reads == 1
    reader.read(second)
    reader.read(first)  # now the second was not asked for longest
    reader.read(third)
    assert counting.reads == 3
    reader.read(first)
    assert counting.reads == 3
    reader.read(second)
    assert counting.reads == 4
    assert reader.name == "counting"


def test_pictures_of_the_same_bytes_and_another_shape_differ():
    counting = Counting()
    reader = Remembering(counting)
    wide = np.arange(2 * 6 * 3, dtype=np.uint8).reshape(2, 6, 3)
    reader.read(wide)
    reader.read(wide.reshape(6, 2, 3))
    assert counting.reads == 2


def test_a_missing_face_is_said_each_time():
    reader = Remembering(Counting())
    for _ in range(2):
        with pytest.raises(NoFaceFound):
            reader.read(np.zeros((4, 4, 3), np.uint8))


def test_one_picture_always_gives_one_embedding_and_another_face_another(reader, features, astronaut):
    again = reader.read(astronaut).embedding
    shifted = reader.read(np.roll(astronaut, 9, axis=1)).embedding
    assert np.array_equal(again, features.embedding)
    near, far = (features.embedding @ other / 400 for other in (shifted, project(astronaut[200:312, 200:312])))
    assert near > 0.9 > far


def test_the_embedding_is_as_long_as_arcfaces(features):
    assert np.linalg.norm(features.embedding) == pytest.approx(20, rel=1e-4)


def test_a_picture_without_a_face_is_said_so(reader):
    with pytest.raises(NoFaceFound, match="reference picture"):
        reader.read(np.full((200, 200, 3), 128, np.uint8))


def test_five_landmarks_are_taken_as_they_are():
    points = np.arange(10, dtype=np.float32).reshape(5, 2)
    assert np.array_equal(five_points(Face(np.zeros(4, np.float32), points, 1.0)), points)


def test_installed_weights_decide_the_reader(tmp_path):
    assert reader_for(Loading({})).name == "embedded-projection"
    with pytest.raises(WeightsMissing, match=r"scrfd_10g_bnkps\.onnx"):
        reader_for(Loading({"antelopev2": tmp_path}))


def test_the_licensed_pack_is_read_through_insightface(tmp_path, astronaut, monkeypatch):
    """A detector that knows the face, since no machine here may hold the pack; the rest is real."""
    from models.faceswap.arc import arcface, scrfd

    points = np.array([[204, 102], [247, 105], [222, 131], [201, 139], [246, 142]], np.float32)
    found = [Face(np.array([178, 70, 273, 176], np.float32), points, 0.9)]

    class KnownFace:
        def __init__(self, path, device):
            self.path = path

        def detect_portrait(self, image):
            return found if image is astronaut else []

    class CropNetwork:
        def __init__(self, path, device):
            self.path = path

        def embed(self, frames, landmarks):
            assert landmarks.shape == (1, 5, 2)
            return np.full((1, 512), frames.mean())

    monkeypatch.setattr(scrfd, "Scrfd", KnownFace)
    monkeypatch.setattr(arcface, "ArcFace", CropNetwork)
    for name in ("scrfd_10g_bnkps.onnx", "glintr100.onnx"):
        (tmp_path / name).touch()
    reader = AntelopeReader(tmp_path, "cpu")
    features = reader.read(astronaut)
    assert features.embedding.dtype == np.float32
    assert features.embedding[0] == pytest.approx(astronaut.mean(), rel=1e-5)
    assert np.array_equal(features.keypoints, points)
    with pytest.raises(NoFaceFound):
        reader.read(np.zeros((64, 64, 3), np.uint8))


def test_pulids_portrait_is_grey_on_white(features, astronaut):
    picture = portrait(astronaut, features.keypoints, OvalMask())
    assert picture.shape == (512, 512, 3)
    assert (picture[0, 0] == 255).all()
    assert (picture[..., 0] == picture[..., 2]).all()
    assert 60 < picture[200:400, 200:310].mean() < 220
