"""The protocol of a face-swap engine: it finds faces and paints a source face over them; the rest is shared.

The swapper (`swapper.py`) owns what every engine needs alike: tracking, smoothing of landmarks over time, selection and pasting.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.task import Image


@dataclass(frozen=True, slots=True)
class Face:
    """A face in a frame.

    box: float32 (4,), left, top, right, bottom in pixels; may reach outside the frame.
    landmarks: float32 (K, 2) or (K, 3), pixels; K is the engine's own (5 or 468), third axis is depth in pixels.
    score: detector's confidence, 0..1.
    """

    box: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    score: float


@dataclass(frozen=True, slots=True)
class Patch:
    """A painted region: uint8 pixels (h, w, 3) RGB to lay over the frame at (top, left) with float32 alpha (h, w) in 0..1."""

    top: int
    left: int
    pixels: NDArray[np.uint8]
    alpha: NDArray[np.float32]


class Source(Protocol):
    """A source face made ready once (embedding, cleaned texture…); only the engine that made it looks inside."""


class Engine(Protocol):
    """Finds faces and paints a source face over them. Thread-safe: calls of several tasks may interleave.

    name: what replies call the engine.
    detect_every: frames from one full detection to the next while a face is followed; 1 detects in each frame, a chunk at a time.
    batch: how many frames `detect` and `paint` like to get at once.
    same_person: Euclidean distance of two embeddings below which they show one person.
    """

    name: str
    detect_every: int
    batch: int
    same_person: float

    def read_source(self, image: Image) -> Source:
        """Prepare the largest face of `image`. Raises NoFaceFound."""
        ...

    def recognise(self, image: Image) -> NDArray[np.float32]:
        """Embedding (D,) of the largest face of a picture. Raises NoFaceFound."""
        ...

    def detect(self, frames: NDArray[np.uint8]) -> list[list[Face]]:
        """Faces of each frame of (N, H, W, 3), largest first."""
        ...

    def follow(self, frame: Image, last: Face) -> Face | None:
        """The face `last` of the previous frame, found again in this one without a full detection; None when lost."""
        ...

    def embed(self, frames: NDArray[np.uint8], faces: list[Face]) -> NDArray[np.float32]:
        """Embeddings (N, D) of one face a frame, to tell people apart by: `frames` (N, H, W, 3) and `faces` have equal length."""
        ...

    def paint(self, frames: NDArray[np.uint8], faces: list[Face], source: Source, boost: int = 1) -> list[Patch]:
        """Paint `source` over one face a frame: `frames` (N, H, W, 3) and `faces` have equal length.

        boost: for an engine that paints at a fixed size, how many times finer each side is worked out.
        """
        ...
