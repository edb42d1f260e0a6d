"""A face as the identity modules need it, and who reads it from a picture."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.task import Image

_LARGEST_CROP = 512  # pixels a side; vision towers take less than half of it


@dataclass(frozen=True, slots=True)
class FaceFeatures:
    """What is read from the largest face of a picture.

    embedding: float32 (512,), the identity; not normalised, since InstantID and PuLID were trained on its length, too.
    keypoints: float32 (5, 2), pixels of the picture: left eye, right eye, nose tip, left and right mouth corner, as seen in it.
    box: float32 (4,), left, top, right, bottom in pixels; may reach outside.
    crop: uint8 square around the head, RGB, at most 512 pixels a side.
    """

    embedding: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    box: NDArray[np.float32]
    crop: Image


class FaceReader(Protocol):
    """Reads faces. `name` says what the embedding is worth; it goes into a call's facts."""

    name: str

    def read(self, image: Image) -> FaceFeatures:
        """The largest face of `image`. Raises NoFaceFound."""
        ...


class Remembering:
    """A reader that keeps the faces it read last: callers send the same reference again and again, and batches read it ahead."""

    def __init__(self, reader: FaceReader, most: int = 64) -> None:
        self.name = reader.name
        self._reader = reader
        self._most = most
        self._read: OrderedDict[bytes, FaceFeatures] = OrderedDict()

    def read(self, image: Image) -> FaceFeatures:
        """The largest face of `image`. Raises NoFaceFound, anew each time."""
        key = hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).digest()
        if key not in self._read:
            self._read[key] = self._reader.read(image)
            while len(self._read) > self._most:
                self._read.popitem(last=False)
        self._read.move_to_end(key)
        return self._read[key]


def head_crop(image: Image, box: NDArray[np.float32], room: float = 1.6) -> Image:
    """Square around the face's box, `room` times its longer side, so that hair and chin are in; the border is repeated outwards."""
    import cv2

    left, top, right, bottom = (float(edge) for edge in box)
    half = max(1, round(max(right - left, bottom - top) * room / 2))
    x, y = round((left + right) / 2) - half, round((top + bottom) / 2) - half
    height, width = image.shape[:2]
    rows = np.clip(np.arange(y, y + 2 * half), 0, height - 1)
    columns = np.clip(np.arange(x, x + 2 * half), 0, width - 1)
    crop = image[rows[:, None], columns]
    if 2 * half <= _LARGEST_CROP:
        return crop
    return cv2.resize(crop, (_LARGEST_CROP, _LARGEST_CROP), interpolation=cv2.INTER_AREA)  # pyright: ignore[reportReturnType]
