"""Pictures as CLIP's vision towers take them."""

import numpy as np
from numpy.typing import NDArray

from models.task import Image

_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def clip_input(picture: Image, side: int) -> NDArray[np.float32]:
    """A square picture, shrunk by bicubic interpolation and normalised: (3, side, side)."""
    from PIL import Image as Pillow

    small = np.asarray(Pillow.fromarray(picture).resize((side, side), Pillow.Resampling.BICUBIC), np.float32) / 255
    return ((small - _MEAN) / _DEVIATION).transpose(2, 0, 1).astype(np.float32)
