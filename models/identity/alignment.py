"""Moves a face to a canonical place by its five keypoints."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.task import Image

# Where the five keypoints lie: ArcFace's 112-pixel crop (insightface), and the 512-pixel crop of FFHQ-aligned faces (facexlib).
ARCFACE_112 = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
FFHQ_512 = np.array([[192.98138, 239.94708], [318.90277, 240.1936], [256.63416, 314.01935], [201.26117, 371.41043], [313.08905, 371.15118]])


def similarity(points: NDArray[np.floating[Any]], goal: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Least-squares turn, scale and shift (2, 3) that takes `points` (N, 2) to `goal` (N, 2); never mirrors.

    Umeyama (1991) in the plane: with both sets centred and read as complex numbers, turn and scale are one quotient.
    """
    middle, aim = points.mean(axis=0), goal.mean(axis=0)
    p = (points - middle) @ np.array([1, 1j])
    q = (goal - aim) @ np.array([1, 1j])
    turn = (p.conj() @ q) / max(float((p.conj() @ p).real), 1e-12)
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([matrix, aim - matrix @ middle])


def align(image: Image, keypoints: NDArray[np.float32], goal: NDArray[np.float64], size: int, outside: int = 0) -> Image:
    """The face turned and scaled so that `keypoints` (5, 2) lie on `goal`, cut to (size, size, 3).

    outside: grey level of what lies outside the picture.
    """
    import cv2

    matrix = similarity(keypoints, goal)
    shrinks = np.hypot(matrix[0, 0], matrix[1, 0]) < 0.5
    if shrinks:  # warpAffine samples four pixels however much it shrinks
        return _smaller(image, matrix, size, outside)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(outside,) * 3)  # pyright: ignore[reportReturnType]


def _smaller(image: Image, matrix: NDArray[np.float64], size: int, outside: int) -> Image:
    """Halve the picture by area until the warp no longer shrinks by more than two."""
    import cv2

    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    factor = 2.0 ** np.floor(np.log2(scale) + 1)
    height, width = image.shape[:2]
    small_size = max(1, round(width * factor)), max(1, round(height * factor))
    small: Any = cv2.resize(image, small_size, interpolation=cv2.INTER_AREA)
    ratio = np.array([small_size[0] / width, small_size[1] / height])
    adjusted = matrix.copy()
    adjusted[:, 2] += matrix[:, :2] @ ((0.5 / ratio) - 0.5)  # pixel centres are whole numbers
    adjusted[:, :2] = matrix[:, :2] / ratio
    return cv2.warpAffine(small, adjusted, (size, size), flags=cv2.INTER_LINEAR, borderValue=(outside,) * 3)  # pyright: ignore[reportReturnType]
