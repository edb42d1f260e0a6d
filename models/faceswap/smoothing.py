"""Steadies landmarks over time without delaying them: a zero-phase Savitzky-Golay filter on a stream.

Each frame's landmarks become the value of the parabola through those of the three frames before and after (Savitzky & Golay 1964, window 7,
order 2). At the ends of a track the parabola goes through the frames there are, so the result does not depend on how a clip is cut into
chunks, and only three frames are held back.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.faceswap.engine import Face
from models.faceswap.tracker import Tracked

LAG = 3  # frames to either side
ORDER = 2


def smooth(tracked: Iterable[Tracked]) -> Iterator[Tracked]:
    """The same frames with steadied faces, at most three frames later. Frames without a face, and new faces, end a track."""
    before: deque[Face] = deque(maxlen=LAG)  # raw faces of frames that went out already
    waiting: deque[Tracked] = deque()  # one track, oldest first
    for item in tracked:
        if item.begins or item.face is None:
            yield from _flush(before, waiting)
        if item.face is None:
            yield item
            continue
        waiting.append(item)
        if len(waiting) > LAG:
            yield _settle(before, waiting)
    yield from _flush(before, waiting)


def _flush(before: deque[Face], waiting: deque[Tracked]) -> Iterator[Tracked]:
    while waiting:
        yield _settle(before, waiting)
    before.clear()


def _settle(before: deque[Face], waiting: deque[Tracked]) -> Tracked:
    """Take the oldest waiting frame out, its face steadied by those before and after."""
    after = [item.face for item in list(waiting)[: LAG + 1] if item.face is not None]
    faces = [*before, *after]
    weights = fit_weights(len(before), len(after) - 1)
    item = waiting.popleft()
    before.append(after[0])
    steadied = replace(
        after[0],
        box=np.tensordot(weights, np.stack([face.box for face in faces]), 1),
        landmarks=np.tensordot(weights, np.stack([face.landmarks for face in faces]), 1),
    )
    return replace(item, face=steadied)


@cache
def fit_weights(before: int, after: int) -> NDArray[np.float32]:
    """Weights (before + 1 + after,) that give a least-squares parabola's value at the frame in question."""
    offsets = np.arange(-before, after + 1)
    powers = offsets[:, None] ** np.arange(min(ORDER, len(offsets) - 1) + 1)
    return np.linalg.pinv(powers)[0].astype(np.float32)
