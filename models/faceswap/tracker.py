"""Follows the chosen faces through a clip: detection now and then, tracking between, recognition where a track starts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.faceswap.casting import Casting
from models.faceswap.cuts import CutDetector
from models.faceswap.engine import Engine, Face
from models.faceswap.geometry import FloatArray
from models.runner import Frames
from models.task import Image, SourceFace

_SAME = 0.3  # overlap of its boxes in two frames that one face has at least
_ONE = 0.6  # overlap in one frame from which two tracks follow the same face
_SEARCH_EVERY = 4  # frames between searches while one of several people is missing
_LEARN_EVERY = 32  # frames between two looks at who somebody is whom nobody else can be mistaken for


@dataclass(frozen=True, slots=True)
class Cover:
    """What hides a face: `hidden` (S, S) in 0..1 over the unrolled face, and its landmarks there (468, 2) and in the frame (468, 3)."""

    hidden: FloatArray
    home: FloatArray
    landmarks: FloatArray


@dataclass(frozen=True, slots=True)
class Seen:
    """A face to paint. track: the same number while nothing interrupts it. part: number of the source that it gets.

    cover: what hides it (`occlusion.py`); None when that was not asked for.
    """

    track: int
    part: int
    face: Face
    cover: Cover | None = None


@dataclass(frozen=True, slots=True)
class Tracked:
    """A frame, when it is shown, and the faces to paint in it."""

    frame: Image
    time_s: float
    faces: tuple[Seen, ...]


@dataclass(slots=True)
class _Track:
    number: int
    face: Face
    part: int | None
    learned: int = 0  # frame at which somebody last looked who this is


class Tracker:
    """The tracks of one clip. Whoever was chosen stays chosen: over cuts and absences they are told by their face."""

    def __init__(self, engine: Engine, sources: Sequence[SourceFace]) -> None:
        """Raises NoFaceFound for a reference picture without a face."""
        self._engine = engine
        self._casting = Casting(engine, sources)
        self._cuts = CutDetector()
        self._tracks: list[_Track] = []
        self._started = 0
        self._index = 0

    def track(self, clip: Iterable[Frames]) -> Iterator[Tracked]:
        """The frames of `clip` in order, each with its faces."""
        for chunk in clip:
            planned = self._detect_ahead(chunk)
            first = self._index - len(chunk.pixels)
            for row, (frame, time_s) in enumerate(zip(chunk.pixels, chunk.times_s, strict=True)):
                if self._cuts.is_cut(frame):
                    self._tracks = []
                self._advance(frame, planned.get(row), first + row)
                faces = tuple(Seen(track.number, track.part, track.face) for track in self._tracks if track.part is not None)
                yield Tracked(frame, float(time_s), faces)

    def _detect_ahead(self, chunk: Frames) -> dict[int, list[Face]]:
        """Faces of each `detect_every`-th frame, detected in one batch."""
        first = -self._index % self._engine.detect_every
        self._index += len(chunk.pixels)
        rows = list(range(first, len(chunk.pixels), self._engine.detect_every))
        if not rows:
            return {}
        every = slice(first, None, self._engine.detect_every)
        return dict(zip(rows, self._engine.detect(np.ascontiguousarray(chunk.pixels[every])), strict=True))

    def _advance(self, frame: Image, found: list[Face] | None, index: int) -> None:
        """Move the tracks on to `frame`. `found` is None where no detection was made."""
        planned = found is not None
        left = self._follow(frame, found)
        lost = not self._tracks or (self._missing() and index % _SEARCH_EVERY == 0)
        if found is None and lost:
            (found,) = self._engine.detect(frame[None])
            left = self._unknown(found)
        if planned:
            self._check(frame, index, crowded=len(found or ()) > 1)
        if left and self._missing():
            self._start(frame, left, index)
        if not self._missing():
            self._tracks = [track for track in self._tracks if track.part is not None]

    def _missing(self) -> bool:
        return self._casting.lacks({track.part for track in self._tracks if track.part is not None})

    def _follow(self, frame: Image, found: list[Face] | None) -> list[Face]:
        """Move each track to its face in `frame`, or end it. Returns the detections that belong to no track."""
        left = list(found or ())
        moved: list[_Track] = []
        for track in self._tracks:
            near = sorted(((overlap(face, track.face), row) for row, face in enumerate(left)), reverse=True)
            if near and near[0][0] >= _SAME:
                face: Face | None = left.pop(near[0][1])
            else:
                # Also where the detector saw nothing: it misses faces in profile that can still be followed.
                face = self._engine.follow(frame, track.face)
            if face is None or overlap(face, track.face) < _SAME or any(overlap(face, other.face) > _ONE for other in moved):
                continue
            moved.append(replace(track, face=face))
        self._tracks = moved
        return self._unknown(left)

    def _unknown(self, found: list[Face]) -> list[Face]:
        return [face for face in found if all(overlap(face, track.face) <= _SAME for track in self._tracks)]

    def _check(self, frame: Image, index: int, *, crowded: bool) -> None:
        """Learn how people look in other poses. With several in view, a track that jumped from one to another where they passed ends."""
        for track in list(self._tracks):
            if track.part is None or not (crowded or index - track.learned >= _LEARN_EVERY):
                continue
            track.learned = index
            if not self._casting.learn(track.part, frame, track.face) and crowded:
                self._tracks.remove(track)

    def _start(self, frame: Image, found: list[Face], index: int) -> None:
        """Start tracks of new faces, and give out the parts that are open."""
        for face in found:
            self._tracks.append(_Track(self._started, face, None, index))
            self._started += 1
        parts = self._casting.cast(frame, [track.face for track in self._tracks], [track.part for track in self._tracks])
        for track, part in zip(self._tracks, parts, strict=True):
            track.part = part


def overlap(one: Face, other: Face) -> float:
    """Intersection over union of two faces' boxes."""
    sides = np.minimum(one.box[2:], other.box[2:]) - np.maximum(one.box[:2], other.box[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    total = float(np.prod(one.box[2:] - one.box[:2]) + np.prod(other.box[2:] - other.box[:2]))
    return shared / max(total - shared, 1e-6)
