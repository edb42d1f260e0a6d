import numpy as np
import pytest

from models.identity.keypoints import draw_keypoints, fit_keypoints

POINTS = np.array([[40, 40], [120, 42], [80, 80], [50, 120], [112, 118]], np.float32)
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)]


def test_each_keypoint_has_its_colour_and_a_dim_limb_to_the_nose():
    picture = draw_keypoints(POINTS, 160, 160)
    assert picture.dtype == np.uint8
    for (x, y), colour in zip(POINTS.astype(int), COLOURS, strict=True):
        assert tuple(picture[y, x]) == colour
    for index in (0, 1, 3, 4):
        x, y = ((POINTS[index] + POINTS[2]) / 2).round().astype(int)
        assert tuple(picture[y, x]) == tuple(int(level * 0.6) for level in COLOURS[index])
    assert not picture[0].any()


def test_discs_have_a_radius_of_ten_and_may_be_cut_by_the_edge():
    picture = draw_keypoints(np.tile(np.array([[50, 50]], np.float32), (5, 1)), 100, 100)
    assert np.flatnonzero(picture[50].any(axis=1)).tolist() == list(range(40, 61))
    assert draw_keypoints(POINTS - 60, 64, 48).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("size", "canvas", "want"),
    [
        ((100, 100), (200, 200), [20, 20]),  # scaled alone
        ((100, 100), (200, 400), [-60, 40]),  # scaled by four, cut at both sides
        ((200, 100), (100, 100), [-40, 10]),  # not scaled, cut at both sides
    ],
)
def test_the_picture_covers_the_canvas_around_its_middle(size, canvas, want):
    middle = np.array([size[0] / 2, size[1] / 2] * 2, np.float32)  # the box of a face that pulls nowhere
    fitted = fit_keypoints(np.full((5, 2), 10, np.float32), middle, size, canvas)
    assert fitted[0].tolist() == want


def test_a_face_beside_the_middle_is_kept_in_view():
    box = np.array([160, 20, 200, 60], np.float32)
    keypoints = np.tile(np.array([[180, 40]], np.float32), (5, 1))
    assert 60 <= fit_keypoints(keypoints, box, (200, 100), (100, 100))[0, 0] <= 80  # box ends at the right edge
