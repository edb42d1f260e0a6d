"""Scene cuts: where a face must be looked for anew and nothing may be smoothed across."""

import cv2
import numpy as np

from models.faceswap.geometry import FloatArray
from models.task import Image

_SIZE = (32, 18)
_DIFFERENT = 22.0  # mean difference of two thumbnails, 0..255, that a cut reaches at least
_SUDDEN = 3.0  # and how many times the frame before's it must be, or a fast pan would count


class CutDetector:
    """Compares each frame with the one before."""

    def __init__(self) -> None:
        self._last: FloatArray | None = None
        self._pace = 0.0

    def is_cut(self, frame: Image) -> bool:
        """Whether a new scene begins with `frame`; the first frame is none."""
        step = max(1, min(frame.shape[0] // (4 * _SIZE[1]), frame.shape[1] // (4 * _SIZE[0])))
        now = cv2.resize(np.ascontiguousarray(frame[::step, ::step]), _SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self._last = self._last, now
        if last is None:
            return False
        change = float(np.abs(now - last).mean())
        cut = change > _DIFFERENT and change > _SUDDEN * self._pace
        self._pace = 0.0 if cut else change
        return cut
