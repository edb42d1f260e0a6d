import numpy as np
import pytest

from models.identity.alignment import ARCFACE_112, FFHQ_512, align, similarity


def moved(points, degrees, scale, shift):
    turn = np.radians(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return points @ matrix.T + shift


@pytest.mark.parametrize(("degrees", "scale", "shift"), [(0, 1, (0, 0)), (30, 2.5, (40, -7)), (-170, 0.1, (300, 300))])
def test_a_similarity_is_found_exactly(degrees, scale, shift):
    points = moved(FFHQ_512, degrees, scale, np.array(shift))
    matrix = similarity(points, FFHQ_512)
    assert np.allclose(points @ matrix[:, :2].T + matrix[:, 2], FFHQ_512, atol=1e-6)


def test_it_agrees_with_scikit_image_where_points_do_not_fit_exactly():
    from skimage.transform import SimilarityTransform

    points = ARCFACE_112 * 3 + np.random.default_rng(0).normal(0, 5, (5, 2))
    theirs = SimilarityTransform.from_estimate(points, ARCFACE_112)
    assert np.allclose(similarity(points, ARCFACE_112), theirs.params[:2], atol=1e-9)


def test_mirrored_points_are_not_mirrored_back():
    matrix = similarity(FFHQ_512 * [-1, 1], FFHQ_512)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize("scale", [0.3, 1.0, 6.0])
def test_marks_in_the_picture_land_on_the_goal(scale):
    """White squares on the keypoints of a large, a fitting and a small face come to lie where they belong."""
    keypoints = (FFHQ_512 * scale + 60).astype(np.float32)
    picture = np.zeros((int(520 * scale) + 120, int(520 * scale) + 120, 3), np.uint8)
    half = max(1, round(6 * scale))
    for x, y in keypoints.round().astype(int):
        picture[y - half : y + half + 1, x - half : x + half + 1] = 255
    aligned = align(picture, keypoints, FFHQ_512, 512)
    for x, y in FFHQ_512:
        window = aligned[int(y) - 20 : int(y) + 21, int(x) - 20 : int(x) + 21, 0].astype(float)
        rows, columns = np.mgrid[-20:21, -20:21]
        assert abs((window * columns).sum() / window.sum() - (x - int(x))) < 1.5
        assert abs((window * rows).sum() / window.sum() - (y - int(y))) < 1.5


def test_what_lies_outside_is_grey():
    aligned = align(np.zeros((50, 50, 3), np.uint8), (FFHQ_512 * 0.05).astype(np.float32), FFHQ_512, 512, outside=134)
    corner = aligned[511, 511]
    small = align(np.zeros((10, 10, 3), np.uint8), FFHQ_512.astype(np.float32), FFHQ_512, 512, outside=134)
    assert corner.tolist() == [0, 0, 0]
    assert small[400, 400].tolist() == [134, 134, 134]
