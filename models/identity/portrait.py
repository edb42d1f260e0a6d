"""The face as PuLID's vision tower wants it: aligned, grey, on white."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.identity.alignment import FFHQ_512, align
from models.task import Image

SIDE = 512
_OUTSIDE = 134  # grey of what lies outside the picture
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class FaceMask(Protocol):
    """Says which pixels of an aligned face are face. `name` goes into a call's facts."""

    name: str

    def __call__(self, aligned: Image) -> NDArray[np.bool_]:
        """Face, brows, hair… True; background, ears, neck and clothes False. (512, 512, 3) to (512, 512)."""
        ...


class OvalMask:
    """The ellipse that an aligned face fills: what serves where no parsing network is installed."""

    name = "oval"

    def __call__(self, aligned: Image) -> NDArray[np.bool_]:
        """The same ellipse for every face."""
        y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
        return ((x - 256) / 165) ** 2 + ((y - 275) / 225) ** 2 <= 1


def portrait(image: Image, keypoints: NDArray[np.float32], mask: FaceMask) -> Image:
    """The face with `keypoints` (5, 2), aligned to (512, 512, 3), without colour, on white."""
    aligned = align(image, keypoints, FFHQ_512, SIDE, outside=_OUTSIDE)
    grey = (aligned @ _LUMA).round().astype(np.uint8)
    return np.repeat(np.where(mask(aligned), grey, np.uint8(255))[..., None], 3, axis=2)
