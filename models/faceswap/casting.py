"""Who gets which face: decided once a clip, and kept by each person's own face over cuts and absences."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.faceswap.engine import Engine, Face
from models.task import FaceChoice, Image, SourceFace

Embedding = NDArray[np.float32]

_LIKELY = 1.1  # times the engine's distance of one person: near enough for somebody known from this clip, without a rival in the frame
_STRANGER = 1.5  # times that distance: another person, though the face lies where the known one was
_RIVAL = 0.1  # how much nearer than the next face the likely one must be
_MOST_VIEWS = 8  # embeddings kept of one person, in different poses
_NEW_VIEW = 0.6  # times the distance of one person: from here a view of them is worth keeping


@dataclass(slots=True)
class Part:
    """One source face and the person who wears it. views: embeddings of that person; none until somebody was chosen."""

    choice: FaceChoice
    views: list[Embedding] = field(default_factory=list[Embedding])

    @property
    def seen_here(self) -> bool:
        """Whether a view is of this clip, not only of a reference picture."""
        return len(self.views) > (self.choice.reference is not None)

    def distance(self, embedding: Embedding) -> float:
        """To the nearest view of the person."""
        return min(float(np.linalg.norm(view - embedding)) for view in self.views)


class Casting:
    """The parts of one clip, by number of the source. Knows no frames: the tracker asks when faces appear."""

    def __init__(self, engine: Engine, sources: Sequence[SourceFace]) -> None:
        """Raises NoFaceFound for a reference picture without a face."""
        self._engine = engine
        self._same = engine.same_person
        self._parts = [Part(source.face) for source in sources]
        for part in self._parts:
            if part.choice.reference is not None:
                part.views.append(engine.recognise(part.choice.reference))
        self._all = next((number for number, part in enumerate(self._parts) if part.choice.by == "all"), None)

    def lacks(self, worn: set[int]) -> bool:
        """Whether anybody is still to be found when the parts in `worn` are in view."""
        return self._all is not None or any(number not in worn for number in range(len(self._parts)))

    def cast(self, frame: Image, faces: Sequence[Face], worn: Sequence[int | None]) -> list[int | None]:
        """The part of each of `faces`; `worn` are the parts that some have already. Decides what is still open."""
        given = list(worn)
        free = [row for row, part in enumerate(given) if part is None]
        if not free or not self.lacks({part for part in given if part is not None}):
            return given
        named = [number for number, part in enumerate(self._parts) if part.choice.by != "all" and number not in given]
        if named:
            frames = np.broadcast_to(frame, (len(free), *frame.shape))
            seen = dict(zip(free, self._engine.embed(frames, [faces[row] for row in free]), strict=True))
            self._recognise(named, seen, given)
            self._choose(named, faces, seen, given)
        if self._all is not None:
            return [self._all if part is None else part for part in given]
        return given

    def learn(self, number: int, frame: Image, face: Face) -> bool:
        """Keep a view of whoever wears a part, followed there without a gap; False when it is somebody else after all."""
        part = self._parts[number]
        if not part.views:
            return True
        (embedding,) = self._engine.embed(frame[None], [face])
        distance = part.distance(embedding)
        if distance > _STRANGER * self._same:
            return False
        if distance > _NEW_VIEW * self._same and len(part.views) < _MOST_VIEWS:
            part.views.append(embedding)
        return True

    def _recognise(self, named: list[int], seen: dict[int, Embedding], given: list[int | None]) -> None:
        """Give parts back to the people who wore them before, or whom a reference names; nearest first."""
        while True:
            known = [number for number in named if number not in given and self._parts[number].views]
            pairs = [
                (self._parts[number].distance(embedding), number, row)
                for number in known
                for row, embedding in seen.items()
                if given[row] is None
            ]
            if not pairs:
                return
            nearest, number, row = min(pairs)
            rivals = [distance for distance, other, at in pairs if (other == number) != (at == row)]
            alone = all(distance > nearest + _RIVAL * self._same for distance in rivals)
            likely = self._parts[number].seen_here and nearest < _LIKELY * self._same and alone
            if nearest >= self._same and not likely:
                return
            given[row] = number

    def _choose(self, named: list[int], faces: Sequence[Face], seen: dict[int, Embedding], given: list[int | None]) -> None:
        """Fill the parts that nobody has worn yet, in the order they were asked for."""
        for number in named:
            part = self._parts[number]
            if part.views or number in given:
                continue
            taken = {row for row, other in enumerate(given) if other is not None} | self._strange_to(number, seen)
            row = _pick(part.choice, faces, taken)
            if row is not None:
                given[row] = number
                part.views.append(seen[row])

    def _strange_to(self, number: int, seen: dict[int, Embedding]) -> set[int]:
        """Faces of people who wear another part, if they could not be told for certain: they are not for this one to take."""
        others = [part for other, part in enumerate(self._parts) if other != number and part.views]
        return {row for row, embedding in seen.items() if any(part.distance(embedding) < self._same for part in others)}


def _pick(choice: FaceChoice, faces: Sequence[Face], taken: set[int]) -> int | None:
    """The row of `faces` that a choice by place or size means; None when it is not there or has a part."""
    across = sorted(range(len(faces)), key=lambda row: float(faces[row].box[0] + faces[row].box[2]))
    if choice.by == "index":
        row = across[choice.index] if choice.index < len(across) else None
        return None if row in taken else row
    free = [row for row in across if row not in taken]
    if not free:
        return None
    if choice.by == "largest":
        return max(free, key=lambda row: float(np.prod(faces[row].box[2:] - faces[row].box[:2])))
    return free[0] if choice.by == "left" else free[-1]
