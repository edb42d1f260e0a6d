import numpy as np
import pytest
from skimage.data import astronaut

from models.wan.fit import Window, fitted, largest_face, window

FACE = np.array([177, 65, 272, 180], np.float32)  # the astronaut's, looked up by eye; the picture is 512x512


def nobody(image):
    return None


def inside(part: Window, box: np.ndarray) -> bool:
    left, top, right, bottom = box
    return part.left <= left and part.top <= top and right <= part.left + part.width and bottom <= part.top + part.height


@pytest.mark.parametrize("size", [(832, 480), (480, 832), (512, 512), (256, 128), (64, 640)])
@pytest.mark.parametrize("fit", ["contain", "cover", "smart"])
def test_the_result_has_the_asked_size(size, fit):
    picture = fitted(astronaut(), *size, fit, nobody)
    assert picture.shape == (size[1], size[0], 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 20


def test_a_picture_of_the_right_size_is_left_as_it_is():
    image = astronaut()[:480, :320]
    for fit in ("contain", "cover", "smart"):
        assert np.array_equal(fitted(image, 320, 480, fit), image)


def test_contain_keeps_everything_between_black_borders():
    picture = fitted(astronaut(), 800, 400, "contain")
    assert not picture[:, :200].any()
    assert not picture[:, 600:].any()
    inner = picture[:, 200:600].astype(float)
    assert np.abs(inner - fitted(astronaut(), 400, 400, "cover")).mean() < 1


def test_cover_cuts_both_sides_alike():
    assert window(astronaut(), 2.0, "cover", nobody) == Window(0, 128, 512, 256)
    assert window(astronaut(), 0.5, "cover", nobody) == Window(128, 0, 256, 512)


@pytest.mark.parametrize("aspect", [16 / 9, 9 / 16, 4.0, 0.25])
@pytest.mark.parametrize("at", [(0, 0), (200, 65), (400, 390), (410, 0)])
def test_smart_keeps_the_face_inside_and_the_frame_on_the_picture(aspect, at):
    face = np.array([*at, at[0] + 95, at[1] + 115], np.float32)
    part = window(astronaut(), aspect, "smart", lambda image: face)
    assert inside(part, face)
    assert part.width / part.height == pytest.approx(aspect)


def test_smart_does_not_cut_a_head_larger_than_the_frame():
    face = np.array([100, 100, 400, 450], np.float32)
    part = window(astronaut(), 16 / 9, "smart", lambda image: face)
    assert inside(part, face)
    assert part.width > 512  # borders at the sides


def test_smart_without_a_face_favours_the_top():
    assert window(astronaut(), 2.0, "smart", nobody) == Window(0, 64, 512, 256)


def test_the_bundled_detector_finds_the_face():
    assert np.abs(largest_face(astronaut()) - FACE).max() < 25
    assert largest_face(np.zeros((64, 64, 3), np.uint8)) is None
