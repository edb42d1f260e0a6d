import numpy as np
import pytest
from skimage.data import astronaut, coffee

from models.clip.interpolation import retimed
from models.runner import Frames


def at(left: float) -> np.ndarray:
    """The photo, moved right by that many pixels."""
    import cv2

    return cv2.warpAffine(astronaut(), np.array([[1, 0, left], [0, 1, 0]], np.float32), (512, 512), borderMode=cv2.BORDER_REFLECT)[::2, ::2]


def clip(pictures, rate):
    return iter([Frames(picture[None], np.array([index / rate])) for index, picture in enumerate(pictures)])


def retime(pictures, rate, **wanted):
    parts = list(retimed(clip(pictures, rate), **wanted))
    return np.concatenate([part.pixels for part in parts]), np.concatenate([part.times_s for part in parts])


@pytest.mark.parametrize("fps", [16, 24, 30])
@pytest.mark.parametrize("seconds", [0.5, 1.0])
def test_the_clip_has_the_asked_length_and_rate(fps, seconds):
    pixels, times = retime([at(4 * index)[:64, :64] for index in range(17)], 16, seconds=seconds, fps=fps)
    assert len(pixels) == round(seconds * fps)
    assert times == pytest.approx(np.arange(len(pixels)) / fps)


def test_frames_that_are_there_are_left_as_they_are():
    pictures = [at(4 * index) for index in range(5)]
    pixels, _ = retime(pictures, 16, seconds=0.25, fps=16)
    assert np.array_equal(pixels, pictures[:4])
    doubled, _ = retime(pictures, 16, seconds=0.25, fps=32)
    assert np.array_equal(doubled[::2], pictures[:4])


def test_a_frame_in_between_is_moved_and_not_mixed():
    pixels, _ = retime([at(0), at(16)], 8, seconds=0.125, fps=16)
    truth = at(8)[20:-20, 20:-20].astype(float)
    mixed = (at(0) / 2 + at(16) / 2)[20:-20, 20:-20]
    error = np.abs(pixels[1][20:-20, 20:-20] - truth).mean()
    assert error < np.abs(mixed - truth).mean() / 3


def test_over_a_cut_the_nearer_frame_is_shown():
    one, two = at(0), np.ascontiguousarray(coffee()[:256, :256])
    pixels, _ = retime([one, two], 4, seconds=0.25, fps=12)
    assert np.array_equal(pixels[1], one)
    assert np.array_equal(pixels[2], two)


def test_after_the_last_frame_it_stands():
    pixels, _ = retime([at(0), at(4)], 16, seconds=0.25, fps=16)
    assert len(pixels) == 4
    assert np.array_equal(pixels[3], at(4))
