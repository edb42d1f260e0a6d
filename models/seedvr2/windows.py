"""Attention windows of SeedVR2: which tokens of a clip attend to each other.

A clip is cut into about 4x3x3 windows of the size they would have on a 720p frame (45x80 tokens), so that larger frames get more
windows, not larger ones. Every second block shifts all cuts by half a window; windows at the border are then smaller.
"""

from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from math import ceil, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Shape: TypeAlias = tuple[int, int, int]  # tokens along time, height, width
Span: TypeAlias = tuple[int, int]  # first token, and the one after the last

TIMES, ROWS, COLUMNS = 4, 3, 3  # windows along each axis on a frame of 720p
REFERENCE_TOKENS = 45 * 80  # of one frame of 720p
LONGEST = 30  # latent frames beyond which windows stop growing in time


@dataclass(frozen=True, slots=True)
class Layout:
    """The windows of a clip of `shape`: all combinations of the cuts along time, height and width."""

    shape: Shape
    cuts: tuple[tuple[Span, ...], tuple[Span, ...], tuple[Span, ...]]

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.cuts[0]) * len(self.cuts[1]) * len(self.cuts[2])

    def batches(self) -> list[NDArray[np.int64]]:
        """Token numbers (windows, tokens) of the windows, those of one shape together; each token is in exactly one."""
        tokens = np.arange(np.prod(self.shape)).reshape(self.shape)
        by_shape: defaultdict[Shape, list[NDArray[np.int64]]] = defaultdict(list)
        for (t0, t1), (h0, h1), (w0, w1) in product(*self.cuts):
            by_shape[t1 - t0, h1 - h0, w1 - w0].append(tokens[t0:t1, h0:h1, w0:w1].reshape(-1))
        return [np.stack(windows) for windows in by_shape.values()]


def layout(shape: Shape, *, shifted: bool) -> Layout:
    """Cut a clip of `shape` tokens into windows."""
    time, height, width = (_spans(side, size, shifted=shifted) for side, size in zip(shape, window_size(shape), strict=True))
    return Layout(shape, (time, height, width))


def window_size(shape: Shape) -> Shape:
    """Tokens of a full window."""
    time, height, width = shape
    scale = sqrt(REFERENCE_TOKENS / (height * width))
    return ceil(min(time, LONGEST) / TIMES), ceil(round(height * scale) / ROWS), ceil(round(width * scale) / COLUMNS)


def _spans(length: int, size: int, *, shifted: bool) -> tuple[Span, ...]:
    """Cuts of one axis. Shifted by half a window, rounded down, unless one window holds the whole axis."""
    shift = 0.5 if shifted and size < length else 0.0
    count = ceil((length - shift) / size) + (1 if shift else 0)
    spans = [(max(int((i - shift) * size), 0), min(int((i - shift + 1) * size), length)) for i in range(count)]
    return tuple(span for span in spans if span[1] > span[0])
