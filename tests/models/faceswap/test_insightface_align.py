import warnings

import numpy as np
import pytest

from models.faceswap.arc import align


def faces(count: int) -> np.ndarray:
    """Landmarks as detectors give them: the template turned, scaled, moved and a little bent."""
    random = np.random.default_rng(3)
    turn = random.uniform(-0.7, 0.7, count)[:, None, None]
    x, y = np.moveaxis(align.template(112)[None] - 56, -1, 0)[..., None]
    turned = np.concatenate([np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y], axis=2)
    placed = turned * random.uniform(0.3, 6, (count, 1, 1)) + random.uniform(0, 1500, (count, 1, 2))
    return (placed + random.normal(0, 3, placed.shape)).astype(np.float32)


@pytest.mark.parametrize("size", [112, 128, 256])
def test_equals_insightface(size: int) -> None:
    from insightface.utils.face_align import estimate_norm

    landmarks = faces(40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # scikit-image's, about the call inside insightface
        theirs = np.stack([estimate_norm(five, size) for five in landmarks])
    ours = align.similarity(landmarks, size)
    corners = np.array([[0, 0], [1920, 1080]])
    np.testing.assert_allclose(ours[:, :, :2], theirs[:, :, :2], atol=1e-5)
    np.testing.assert_allclose(align.apply(ours, landmarks), align.apply(theirs, landmarks), atol=1e-3)
    np.testing.assert_allclose(align.apply(ours, corners), align.apply(theirs, corners), atol=2e-2)


def test_takes_a_turned_template_back_exactly() -> None:
    crop = align.similarity(faces(5), 128)
    placed = align.apply(align.invert(crop), align.template(128))
    np.testing.assert_allclose(align.similarity(placed, 128), crop, atol=1e-9)


def test_landmarks_in_one_point_give_no_number_but_raise_nothing() -> None:
    crop = align.similarity(np.full((1, 5, 2), 7.0), 128)
    assert np.isfinite(crop).all()
    assert not np.isfinite(align.invert(crop)).any()


def test_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="multiple of 112 or 128, got 100"):
        align.template(100)
