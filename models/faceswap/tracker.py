"""Follows one face through a clip: detection now and then, tracking between."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from models.faceswap.cuts import CutDetector
from models.faceswap.engine import Engine, Face
from models.runner import Frames
from models.task import Image

_SAME = 0.3  # overlap of its boxes in two frames that one face has at least


@dataclass(frozen=True, slots=True)
class Tracked:
    """A frame, when it is shown, and its face. `begins`: the face is not that of the frame before, so nothing connects the two."""

    frame: Image
    time_s: float
    face: Face | None
    begins: bool


class Tracker:
    """The track of one clip's largest face; once found, it stays with that face until it is lost or the scene changes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cuts = CutDetector()
        self._last: Face | None = None
        self._index = 0

    def track(self, clip: Iterable[Frames]) -> Iterator[Tracked]:
        """The frames of `clip` in order, each with its face."""
        for chunk in clip:
            planned = self._detect_ahead(chunk)
            for row, (frame, time_s) in enumerate(zip(chunk.pixels, chunk.times_s, strict=True)):
                before = None if self._cuts.is_cut(frame) else self._last
                face, same = self._find(frame, before, planned.get(row))
                self._last = face
                yield Tracked(frame, float(time_s), face, begins=not same)

    def _detect_ahead(self, chunk: Frames) -> dict[int, list[Face]]:
        """Faces of each `detect_every`-th frame, detected in one batch."""
        first = -self._index % self._engine.detect_every
        self._index += len(chunk.pixels)
        rows = list(range(first, len(chunk.pixels), self._engine.detect_every))
        if not rows:
            return {}
        every = slice(first, None, self._engine.detect_every)
        return dict(zip(rows, self._engine.detect(np.ascontiguousarray(chunk.pixels[every])), strict=True))

    def _find(self, frame: Image, last: Face | None, found: list[Face] | None) -> tuple[Face | None, bool]:
        """The face of `frame`, and whether it is `last`. `found` is None where no detection was made."""
        if last is not None and not found:
            # Also where the detector saw nothing: it misses faces in profile that can still be followed.
            face = self._engine.follow(frame, last)
            if face is not None and overlap(face, last) >= _SAME:
                return face, True
        if found is None:
            (found,) = self._engine.detect(frame[None])
        if not found:
            return None, False
        if last is not None:
            nearest = max(found, key=lambda face: overlap(face, last))
            if overlap(nearest, last) >= _SAME:
                return nearest, True
        return found[0], False


def overlap(one: Face, other: Face) -> float:
    """Intersection over union of two faces' boxes."""
    sides = np.minimum(one.box[2:], other.box[2:]) - np.maximum(one.box[:2], other.box[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    total = float(np.prod(one.box[2:] - one.box[:2]) + np.prod(other.box[2:] - other.box[:2]))
    return shared / max(total - shared, 1e-6)
