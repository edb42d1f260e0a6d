"""Other frame rates: frames in between, moved along the optical flow from both sides.

Flow by DIS (Kroeger et al., arXiv 1603.03590); flows at the time in between as in Super SloMo (Jiang et al., arXiv 1712.00080).
Needs no weights and runs on the CPU beside the model.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.runner import Frames
from models.task import Image

Field: TypeAlias = NDArray[np.float32]  # (H, W, 2), pixels right and down

CUT = 30.0  # mean difference, of 255, that remains between two frames laid onto each other: they show different scenes
_SAME = 1e-4  # share of a step below which an instant is that of a frame itself
_TRUST_PX = 1.5  # flows there and back that miss by this much count about half


def retimed(frames: Iterator[Frames], *, seconds: float, fps: float) -> Iterator[Frames]:
    """The clip's first `seconds` at `fps`. Instants between two frames are interpolated; after the last frame it stands still."""
    total = round(seconds * fps)
    shown = 0
    before: tuple[float, Image] | None = None
    for time_s, picture in _each(frames):
        if shown >= total:
            continue  # run the source to its end: it may still have something to say
        if before is not None:
            pair = _Pair(before[1], picture)
            step = time_s - before[0]
            pixels: list[Image] = []
            while shown + len(pixels) < total and (at := ((shown + len(pixels)) / fps - before[0]) / step) < 1 - _SAME:
                pixels.append(pair.at(max(at, 0.0)))
            if pixels:
                yield Frames(np.stack(pixels), (shown + np.arange(len(pixels))) / fps)
                shown += len(pixels)
        before = (time_s, picture)
    while before is not None and shown < total:
        yield Frames(before[1][None], np.array([shown / fps]))
        shown += 1


def _each(frames: Iterator[Frames]) -> Iterator[tuple[float, Image]]:
    for part in frames:
        yield from zip(part.times_s.tolist(), part.pixels, strict=True)


class _Pair:
    """Two neighbouring frames; flows are computed when a picture between them is asked for."""

    def __init__(self, first: Image, second: Image) -> None:
        self._first, self._second = first, second
        self._flows: tuple[Field, Field, Field, Field] | None = None

    def at(self, share: float) -> Image:
        """The picture at `share` (0..1) of the way."""
        if share < _SAME:
            return self._first
        if self._flows is None:
            self._flows = _flows(self._first, self._second)
        there, back, sure_first, sure_second = self._flows
        to_first = share * share * back - share * (1 - share) * there
        to_second = (1 - share) ** 2 * there - share * (1 - share) * back
        first, second = _moved(self._first, to_first), _moved(self._second, to_second)
        if np.abs(first - second).mean() > CUT:
            return self._first if share < 0.5 else self._second
        of_first = ((1 - share) * _moved(sure_first, to_first) + 1e-3)[..., None]
        of_second = (share * _moved(sure_second, to_second) + 1e-3)[..., None]
        mixed = (first * of_first + second * of_second) / (of_first + of_second)
        return np.rint(mixed).clip(0, 255).astype(np.uint8)


def _flows(first: Image, second: Image) -> tuple[Field, Field, Field, Field]:
    """Flow there and back, and how far to trust each pixel of either frame, 0..1: what is hidden in the other frame has no flow."""
    import cv2

    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    one, two = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (first, second))
    flow = np.zeros((*one.shape, 2), np.float32)
    there, back = (np.asarray(dis.calc(*pair, flow.copy()), np.float32) for pair in ((one, two), (two, one)))
    return there, back, _trust(there, back), _trust(back, there)


def _trust(there: Field, back: Field) -> Field:
    missed = there + _moved(back, there)
    return np.exp(-(missed**2).sum(axis=2) / (2 * _TRUST_PX**2)).astype(np.float32)


def _moved(picture: NDArray[np.uint8] | Field, flow: NDArray[Any]) -> Field:
    """`picture` (H, W) or (H, W, C) looked up at each pixel plus `flow`."""
    import cv2

    height, width = picture.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    wanted = np.ascontiguousarray(picture, np.float32)
    columns, rows = (np.asarray(at, np.float32) for at in (columns + flow[..., 0], rows + flow[..., 1]))
    return np.asarray(cv2.remap(wanted, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
