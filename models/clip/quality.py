"""Gates on a finished clip: faults that a viewer sees at once, and the present services are known for."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.errors import PoorQuality
from models.media import write_image
from models.runner import Call, Frames
from models.task import Image

BLANK_SPREAD = 3.0  # of brightness (0..255) within a frame, below which it shows nothing: black, white or any one colour
FLASH = 20.0  # change of mean brightness from one frame to the next; daylight scenes stay below 5
LIKENESS = 0.5  # least SSIM of the first frame with the given picture; a video codec's loss alone stays above 0.8
FROZEN = 0.25  # mean change a pixel from frame to frame, below which nothing moves
_SIDE = 256  # frames are judged at this size, so that fine grain counts for nothing
_PREVIEW_QUALITY = 80


class Gate:
    """Looks at frames as they pass."""

    def __init__(self, first: Image | None = None) -> None:
        self.frames = self.blank = self.flashes = self.moving = 0
        self.likeness: float | None = None
        self._expected = first
        self._before: NDArray[np.float32] | None = None

    def look(self, picture: Image) -> None:
        """Judge the next frame."""
        seen = _brightness(picture)
        self.frames += 1
        self.blank += bool(seen.std() < BLANK_SPREAD)
        if self._before is not None:
            self.flashes += bool(abs(float(seen.mean() - self._before.mean())) > FLASH)
            self.moving += bool(np.abs(seen - self._before).mean() > FROZEN)
        elif self._expected is not None:
            self.likeness = ssim(seen, _brightness(self._expected, like=picture))
        self._before = seen

    def faults(self) -> list[str]:
        """What is wrong, as `fault=measure`; empty for a good clip."""
        found: list[str] = []
        if self.blank:
            found.append(f"blank={self.blank}")
        if self.flashes:
            found.append(f"flash={self.flashes}")
        if self.likeness is not None and self.likeness < LIKENESS:
            found.append(f"first-frame={self.likeness:.2f}")
        if self.frames > 1 and self.moving == 0:
            found.append("frozen")
        return found


def gated(frames: Iterator[Frames], call: Call, *, first: Image | None, refuse: bool, preview: bool = False) -> Iterator[Frames]:
    """The same frames; their faults go into the fact "quality" ("ok", or "blank=2;frozen").

    first: the picture that the first frame should be. preview: report the first frame to whoever watches the progress.
    Raises PoorQuality at the end of a clip with faults when `refuse`.
    """
    gate = Gate(first)
    for part in frames:
        if preview and not gate.frames:
            call.show(write_image(part.pixels[0], "jpeg", _PREVIEW_QUALITY))
        for picture in part.pixels:
            gate.look(picture)
        yield part
    faults = gate.faults()
    call.facts["quality"] = ";".join(faults) or "ok"
    if refuse and faults:
        raise PoorQuality(f"the finished clip failed the quality gate ({', '.join(faults)}); try another seed, or drop quality_gate")


def ssim(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    """Mean structural similarity of two pictures of brightness 0..255 (Wang et al. 2004): 1 for equal ones, about 0 for strangers."""
    import cv2

    def smooth(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float32)

    mean_one, mean_two = smooth(one), smooth(two)
    spread_one, spread_two = smooth(one * one) - mean_one**2, smooth(two * two) - mean_two**2
    together = smooth(one * two) - mean_one * mean_two
    steady_mean, steady_spread = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_one * mean_two + steady_mean) * (2 * together + steady_spread)
    return float((likeness / ((mean_one**2 + mean_two**2 + steady_mean) * (spread_one + spread_two + steady_spread))).mean())


def _brightness(picture: Image, like: Image | None = None) -> NDArray[np.float32]:
    """Brightness of a picture, shrunk to `_SIDE` or to what `like` is shrunk to."""
    import cv2

    height, width = (picture if like is None else like).shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk @ np.array([0.299, 0.587, 0.114]), np.float32)
