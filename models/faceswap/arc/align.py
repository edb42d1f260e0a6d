"""Where a face lies: the similarity that takes five landmarks to the canonical crop, for many faces at once.

Matrices are float64 (N, 2, 3) and act on column vectors (x, y, 1) in OpenCV's convention: pixel centres are whole numbers.
"""

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]  # (N, 2, 3)

# ArcFace's five points in its 112-pixel crop: left eye, right eye, nose tip, left and right mouth corner (as seen in the picture).
_TEMPLATE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float64,
)


def template(size: int) -> NDArray[np.float64]:
    """The five points (5, 2) in a crop of `size` pixels, a multiple of 112 (recogniser) or 128 (swapper, 8/128 wider at each side)."""
    if size % 112 == 0:
        return _TEMPLATE_112 * (size / 112)
    if size % 128 == 0:
        return (_TEMPLATE_112 + np.array([8.0, 0.0])) * (size / 128)
    raise ValueError(f"size must be a multiple of 112 or 128, got {size}")


def similarity(landmarks: NDArray[np.floating], size: int) -> Matrix:
    """Least-squares similarities (N, 2, 3) from `landmarks` (N, 5, 2) to the template of `size`."""
    return similarity_to(landmarks, template(size))


def similarity_to(landmarks: NDArray[np.floating], goal: NDArray[np.float64]) -> Matrix:
    """Least-squares similarities (N, 2, 3) from `landmarks` (N, K, 2) to `goal` (K, 2).

    Turn, scale and shift without mirroring. In the plane Umeyama's solution (1991) needs no SVD: with both point sets centred
    and read as complex numbers p and q, the turn and scale are the single number sum(conj(p) q) / sum(|p|^2).
    """
    points = np.asarray(landmarks, dtype=np.float64)
    middle = points.mean(axis=1)  # (N, 2)
    p = (points - middle[:, None]) @ [1.0, 1.0j]  # (N, K)
    q = (goal - goal.mean(axis=0)) @ [1.0, 1.0j]  # (K,)
    turn = (p.conj() * q).sum(axis=1) / np.maximum((np.abs(p) ** 2).sum(axis=1), 1e-12)
    matrix = np.empty((len(points), 2, 3))
    matrix[:, 0, 0] = matrix[:, 1, 1] = turn.real
    matrix[:, 1, 0] = turn.imag
    matrix[:, 0, 1] = -turn.imag
    matrix[:, :, 2] = goal.mean(axis=0) - np.einsum("nij,nj->ni", matrix[:, :, :2], middle)
    return matrix


def invert(matrices: Matrix) -> Matrix:
    """The inverse of each similarity; one of zero scale (landmarks in one point) inverts to NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.swapaxes(matrices[:, :, :2], 1, 2) / (matrices[:, :1, :1] ** 2 + matrices[:, 1:, :1] ** 2)
    return np.concatenate([inverse, -inverse @ matrices[:, :, 2:]], axis=2)


def apply(matrices: Matrix, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Each matrix on its points: (N, 2, 3) and (N, K, 2) or (K, 2) give (N, K, 2)."""
    return points @ np.swapaxes(matrices[:, :, :2], 1, 2) + matrices[:, None, :, 2]
