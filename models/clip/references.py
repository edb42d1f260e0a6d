"""Stills that stand for a clip where a model takes pictures."""

import numpy as np

from models.media import decode
from models.media.limits import Limits
from models.task import Image


def stills(clip: bytes, count: int, seconds: float, longest_side: int, limits: Limits) -> tuple[Image, ...]:
    """`count` frames from the middles of equal parts of a clip of `seconds`, shrunk to `longest_side` pixels; fewer of a shorter clip.

    Raises BadMedia or TooLarge.
    """
    times = (np.arange(count) + 0.5) * seconds / count
    found: list[Image] = []
    before: Image | None = None
    for frames in decode(clip, limits=limits):
        for pixels, time_s in zip(frames.pixels, frames.times_s, strict=True):
            while len(found) < count and time_s > times[len(found)] and before is not None:
                found.append(shrunk(before, longest_side))
            before = pixels
        if len(found) == count:
            return tuple(found)
    if before is not None and len(found) < count:
        found.append(shrunk(before, longest_side))
    return tuple(found)


def shrunk(picture: Image, longest_side: int) -> Image:
    """`picture` with its longest side at most that many pixels."""
    from PIL import Image as Pillow

    scale = longest_side / max(picture.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(picture)
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return np.asarray(Pillow.fromarray(picture).resize((width, height), Pillow.Resampling.LANCZOS))
