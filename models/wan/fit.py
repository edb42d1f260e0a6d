"""Brings a picture to a clip's size: with borders, cropped, or cropped so that the face stays in view."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.task import Fit, Image

Box: TypeAlias = NDArray[np.float32]  # left, top, right, bottom in pixels
FaceFinder: TypeAlias = Callable[[Image], Box | None]

_HEADROOM = np.array([-0.3, -0.6, 0.3, 0.3], np.float32)  # of the face box's sides: hair and chin are part of a portrait
_TOP_BIAS = 0.25  # without a face, a quarter of what must go is cut at the top: heads are mostly up there


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a picture that fills the frame, in the picture's pixels; what lies outside the picture becomes border."""

    left: float
    top: float
    width: float
    height: float


def fitted(image: Image, width: int, height: int, fit: Fit, find_face: FaceFinder | None = None, border: int = 0) -> Image:
    """`image` at width x height, undistorted.

    contain: all of it, with borders of the grey level `border`. cover: the centre. smart: like cover, but around the largest face, and
    with borders where the head is larger than the frame. find_face: None for the bundled detector.
    """
    return _cut(image, window(image, width / height, fit, find_face or largest_face), width, height, border)


def window(image: Image, aspect: float, fit: Fit, find_face: FaceFinder) -> Window:
    """Which part of `image` a frame of this `aspect` (width by height) shows."""
    rows, columns = image.shape[:2]
    if fit == "contain":
        tall = max(rows, columns / aspect)
        return Window((columns - tall * aspect) / 2, (rows - tall) / 2, tall * aspect, tall)
    tall = min(rows, columns / aspect)
    wide = tall * aspect
    if fit == "cover":
        return Window((columns - wide) / 2, (rows - tall) / 2, wide, tall)
    face = find_face(image)
    if face is None:
        return Window((columns - wide) / 2, (rows - tall) * _TOP_BIAS, wide, tall)
    return _around(_head(face, columns, rows), aspect, columns, rows)


@cache
def _detector() -> FaceFinder:
    from models.faceswap.detector import Detector

    detector = Detector()

    def find(image: Image) -> Box | None:
        faces = detector.detect(image[None])[0]
        return faces[0].box if faces else None

    return find


def largest_face(image: Image) -> Box | None:
    """Box of the largest face, by the bundled detector."""
    return _detector()(image)


def _head(face: Box, columns: int, rows: int) -> Box:
    """The face with its surroundings, inside the picture."""
    sides = np.tile(face[2:] - face[:2], 2)
    return np.clip(face + _HEADROOM * sides, 0, [columns, rows, columns, rows]).astype(np.float32)


def _around(head: Box, aspect: float, columns: int, rows: int) -> Window:
    """The smallest window that covers the picture, grown until the head fits and moved until it is inside."""
    left, top, right, bottom = map(float, head)
    tall = max(min(rows, columns / aspect), bottom - top, (right - left) / aspect)
    wide = tall * aspect
    return Window(_slide((left + right) / 2, wide, columns), _slide((top + bottom) / 2, tall, rows), wide, tall)


def _slide(centre: float, length: float, limit: float) -> float:
    """Start of a stretch of `length` about `centre`, kept inside 0..limit; one that is longer is centred."""
    if length >= limit:
        return (limit - length) / 2
    return min(max(centre - length / 2, 0), limit - length)


def _cut(image: Image, part: Window, width: int, height: int, border: int) -> Image:
    """Resample the window to width x height in one step."""
    from PIL import Image as Pillow

    rows, columns = image.shape[:2]
    scale = width / part.width
    inside = (max(part.left, 0), max(part.top, 0), min(part.left + part.width, columns), min(part.top + part.height, rows))
    left, top, right, bottom = (round((edge - start) * scale) for edge, start in zip(inside, (part.left, part.top) * 2, strict=True))
    right, bottom = min(max(right, left + 1), width), min(max(bottom, top + 1), height)
    canvas = np.full((height, width, 3), border, np.uint8)
    shown = Pillow.fromarray(image).resize((right - left, bottom - top), Pillow.Resampling.LANCZOS, box=inside)
    canvas[top:bottom, left:right] = np.asarray(shown)
    return canvas
