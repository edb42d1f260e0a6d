import numpy as np
import pytest
import skimage.data

from models.faceswap.embedded import EmbeddedEngine
from models.faceswap.swapper import FaceSwapper
from models.runner import Frames
from models.weights import Loading


@pytest.fixture(scope="session")
def engine():
    return EmbeddedEngine()


@pytest.fixture(scope="session")
def swapper():
    swapper = FaceSwapper(Loading({}))
    yield swapper
    swapper.close()


@pytest.fixture(scope="session")
def astronaut():
    return np.ascontiguousarray(skimage.data.astronaut()[:320])


@pytest.fixture(scope="session")
def source(crowd):
    """Another person: the face in the crowd that lies furthest left."""
    return np.ascontiguousarray(crowd[:, :420])


@pytest.fixture(scope="session")
def crowd():
    """Several faces: the picture that insightface ships."""
    from importlib.resources import files

    import cv2

    picture = cv2.imread(str(files("insightface") / "data" / "images" / "t1.jpg"))
    assert picture is not None
    return np.ascontiguousarray(picture[:, :, ::-1])


@pytest.fixture(scope="session")
def moving(astronaut):
    """24 frames of a face that drifts to the right and down."""
    return np.stack([np.roll(astronaut, (i // 2, 2 * i), axis=(0, 1)) for i in range(24)])


@pytest.fixture
def chunks():
    """Cuts frames (T, H, W, 3) into a clip of chunks, 16 frames a second."""

    def cut(pixels, size=8):
        for start in range(0, len(pixels), size):
            part = pixels[start : start + size]
            yield Frames(part, (start + np.arange(len(part))) / 16)

    return cut
