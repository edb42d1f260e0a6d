"""Steadies landmarks over time without delaying them: a zero-phase Savitzky-Golay filter on a stream.

Each frame's landmarks become the value of the parabola through those of the three frames before and after (Savitzky & Golay 1964, window 7,
order 2). At the ends of a track the parabola goes through the frames there are, so the result does not depend on how a clip is cut into
chunks, and only three frames are held back.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from models.faceswap.engine import Face
from models.faceswap.tracker import Seen, Tracked

LAG = 3  # frames to either side
ORDER = 2


def smooth(tracked: Iterable[Tracked]) -> Iterator[Tracked]:
    """The same frames with steadied faces, three frames later. Nothing is smoothed from one track into another, or over a gap."""
    before: deque[Tracked] = deque(maxlen=LAG)  # frames that went out already, as they were
    waiting: deque[Tracked] = deque()  # oldest first
    for item in tracked:
        waiting.append(item)
        if len(waiting) > LAG:
            yield _settle(before, waiting)
    while waiting:
        yield _settle(before, waiting)


def _settle(before: deque[Tracked], waiting: deque[Tracked]) -> Tracked:
    """Take the oldest waiting frame out, its faces steadied by those before and after."""
    item = waiting.popleft()
    faces = tuple(_steadied(seen, before, waiting) for seen in item.faces)
    before.append(item)
    return replace(item, faces=faces)


def _steadied(seen: Seen, before: deque[Tracked], after: deque[Tracked]) -> Seen:
    earlier = _run(seen.track, reversed(before))[::-1]
    later = _run(seen.track, islice(after, LAG))
    faces = [*earlier, seen.face, *later]
    weights = fit_weights(len(earlier), len(later))
    box = np.tensordot(weights, np.stack([face.box for face in faces]), 1)
    landmarks = np.tensordot(weights, np.stack([face.landmarks for face in faces]), 1)
    return replace(seen, face=replace(seen.face, box=box, landmarks=landmarks))


def _run(track: int, items: Iterable[Tracked]) -> list[Face]:
    """The faces of `track` in consecutive frames, as long as it is there."""
    found: list[Face] = []
    for item in items:
        face = next((seen.face for seen in item.faces if seen.track == track), None)
        if face is None:
            break
        found.append(face)
    return found


@cache
def fit_weights(before: int, after: int) -> NDArray[np.float32]:
    """Weights (before + 1 + after,) that give a least-squares parabola's value at the frame in question."""
    offsets = np.arange(-before, after + 1)
    powers = offsets[:, None] ** np.arange(min(ORDER, len(offsets) - 1) + 1)
    return np.linalg.pinv(powers)[0].astype(np.float32)
