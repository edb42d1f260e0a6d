"""Laying a swapped crop back over its frame, inside the face's own rectangle: nothing here costs more for a larger frame.

insightface pastes over the whole frame, and erodes and blurs a mask there for every face. The mask it arrives at is, seen from the
crop, nearly the same every time; here it is made once, in crop space, and warped along with the pixels.
"""

from dataclasses import dataclass
from functools import cache
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from models.faceswap.arc.align import Matrix, apply, invert
from models.faceswap.engine import Patch

SIZE = 128  # side of inswapper's crop, pixels

# insightface erodes by 1/20 of the face's side and blurs with a sigma near 1/60 of it.
_EDGE = 1 / 20
_SIGMA = 1 / 60


@dataclass(frozen=True, slots=True)
class Regions:
    """Where crops lie in their frames, clipped to them.

    left, top, width, height: int64 (N,), pixels; width or height is 0 for a face outside its frame.
    """

    left: NDArray[np.int64]
    top: NDArray[np.int64]
    width: NDArray[np.int64]
    height: NDArray[np.int64]


@cache
def soft_mask(size: int = SIZE) -> NDArray[np.float32]:
    """Alpha (size, size) of a swapped crop: 1 inside, falling to 0 towards its sides."""
    inside = np.minimum(np.arange(size) + 0.5, size - 0.5 - np.arange(size)) - _EDGE * size
    ramp = np.array([0.5 + 0.5 * erf(d / (_SIGMA * size) / sqrt(2.0)) for d in inside])
    mask = np.outer(ramp, ramp).astype(np.float32)
    mask.flags.writeable = False
    return mask


def regions(crops: Matrix, height: int, width: int, size: int = SIZE) -> Regions:
    """Rectangles of the crops of `size` that `crops` (N, 2, 3), frame to crop, cut from frames of height × width."""
    corners = np.array([[-1, -1], [size, -1], [size, size], [-1, size]])
    placed = np.nan_to_num(apply(invert(crops), corners), nan=-1.0, posinf=-1.0, neginf=-1.0)  # (N, 4, 2)
    limit = np.array([width, height])
    low = np.clip(np.floor(placed.min(axis=1)), 0, limit).astype(np.int64)
    high = np.clip(np.ceil(placed.max(axis=1)) + 1, 0, limit).astype(np.int64)
    sides = np.maximum(high - low, 0)
    sides[(sides == 0).any(axis=1)] = 0
    return Regions(low[:, 0], low[:, 1], sides[:, 0], sides[:, 1])


def cut(frame: NDArray[np.uint8], crop: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """The crop (size, size, 3) of one frame by one matrix (2, 3); black outside the frame."""
    import cv2

    return cv2.warpAffine(frame, crop, (size, size), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))  # pyright: ignore[reportReturnType]


def patches(painted: NDArray[np.uint8], crops: Matrix, height: int, width: int) -> list[Patch]:
    """Painted crops (N, S, S, 3) warped to their places in frames of height × width; an empty patch for a face outside."""
    import cv2

    where, back = regions(crops, height, width, painted.shape[1]), invert(crops)
    done: list[Patch] = []
    for i in range(len(painted)):
        left, top, size = int(where.left[i]), int(where.top[i]), (int(where.width[i]), int(where.height[i]))
        if size[0] == 0:
            done.append(Patch(top, left, np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.float32)))
            continue
        matrix = back[i] - [[0, 0, left], [0, 0, top]]
        pixels = cv2.warpAffine(painted[i], matrix, size, flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
        alpha = cv2.warpAffine(soft_mask(painted.shape[1]), matrix, size, flags=cv2.INTER_LINEAR, borderValue=0)
        done.append(Patch(top, left, pixels, alpha))  # pyright: ignore[reportArgumentType]
    return done
