"""The picture of five keypoints that tells InstantID's ControlNet where the face goes."""

import numpy as np
from numpy.typing import NDArray

from models.task import Image

_LIMB_HALF_WIDTH = 4.0
_LIMB_LIGHT = 0.6
_DISC_RADIUS = 10.0
_NOSE = 2
_COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255]], np.uint8)  # one a keypoint


def fit_keypoints(
    keypoints: NDArray[np.float32], box: NDArray[np.float32], size: tuple[int, int], canvas: tuple[int, int]
) -> NDArray[np.float32]:
    """Keypoints (5, 2) of a picture of `size` (width, height), moved to a canvas that the picture covers.

    The picture is scaled to cover the canvas and cut around its middle, moved no more than it takes to keep the face's box inside.
    """
    scale = max(canvas[0] / size[0], canvas[1] / size[1])
    shift = np.empty(2)
    for axis in range(2):
        middle = (canvas[axis] - size[axis] * scale) / 2
        into_view = np.clip(middle, -box[axis] * scale, canvas[axis] - box[axis + 2] * scale)
        shift[axis] = np.clip(into_view, canvas[axis] - size[axis] * scale, 0)
    return (keypoints * scale + shift).astype(np.float32)


def draw_keypoints(keypoints: NDArray[np.float32], width: int, height: int) -> Image:
    """Five discs on black, each eye and mouth corner joined to the nose by a dim limb, as InstantID was trained on (InstantX, 2024)."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    picture = np.zeros((height, width, 3), np.uint8)
    nose = keypoints[_NOSE]
    for index in (0, 1, 3, 4):
        picture[_limb(x, y, keypoints[index], nose)] = (_COLOURS[index] * _LIMB_LIGHT).astype(np.uint8)
    for point, colour in zip(keypoints, _COLOURS, strict=True):
        picture[(x - point[0]) ** 2 + (y - point[1]) ** 2 <= _DISC_RADIUS**2] = colour
    return picture


def _limb(x: NDArray[np.float32], y: NDArray[np.float32], start: NDArray[np.float32], end: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels of the ellipse that spans from `start` to `end`."""
    middle, along = (start + end) / 2, (end - start) / 2
    length = float(np.hypot(*along))
    if length < 1:  # both ends under one disc; no direction to draw in
        return np.zeros(x.shape, np.bool_)
    dx, dy = x - middle[0], y - middle[1]
    lengthwise = (dx * along[0] + dy * along[1]) / length
    across = (dy * along[0] - dx * along[1]) / length
    return (lengthwise / length) ** 2 + (across / _LIMB_HALF_WIDTH) ** 2 <= 1
