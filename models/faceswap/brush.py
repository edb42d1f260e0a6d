"""Paints a batch of frames: every chosen face of each, by the engine, narrowed by the masks, and restored."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.faceswap.engine import Engine, Patch, Source
from models.faceswap.masks import narrow
from models.faceswap.mesh import Mesh
from models.faceswap.paste import paste
from models.faceswap.restore import Restored, Restorer, restored
from models.faceswap.tracker import Seen, Tracked
from models.runner import Frames
from models.task import FaceMask


@dataclass(frozen=True, slots=True)
class Batch:
    """Painted frames, the restored faces of each that are still to be laid over it, which were painted, and the seconds that took."""

    frames: Frames
    restored: list[list[Restored]]
    painted: list[int]
    seconds: float


@dataclass(frozen=True, slots=True)
class Brush:
    """What one call paints with. Thread-safe."""

    engine: Engine
    sources: Sequence[Source]
    mask: FaceMask
    boost: int
    restorer: Restorer | None
    mesh: Mesh

    def paint(self, items: list[Tracked]) -> Batch:
        """Paint over the faces of each frame, on a copy."""
        started = time.perf_counter()
        pixels = np.stack([item.frame for item in items])
        done: dict[int, list[tuple[Seen, Patch]]] = defaultdict(list)
        for part, source in enumerate(self.sources):
            pairs = [(row, seen) for row, item in enumerate(items) for seen in item.faces if seen.part == part]
            for (row, seen), patch in zip(pairs, self._patches(pixels, pairs, source), strict=True):
                if patch.alpha.size:
                    done[row].append((seen, patch))
        for row, painted in done.items():
            for _, patch in painted:
                paste(pixels[row], patch)
        sharper = [self._restored(pixels[row], done[row]) if row in done else [] for row in range(len(items))]
        times = np.array([item.time_s for item in items])
        return Batch(Frames(pixels, times), sharper, sorted(done), time.perf_counter() - started)

    def _patches(self, pixels: np.ndarray, pairs: list[tuple[int, Seen]], source: Source) -> list[Patch]:
        if not pairs:
            return []
        rows, seen = [row for row, _ in pairs], [one for _, one in pairs]
        frames = pixels if rows == list(range(len(pixels))) else pixels[rows]
        patches = self.engine.paint(frames, [one.face for one in seen], source, self.boost)
        return narrow(patches, list(frames), seen, self.mask, self.mesh)

    def _restored(self, frame: np.ndarray, painted: list[tuple[Seen, Patch]]) -> list[Restored]:
        if self.restorer is None:
            return []
        return restored(self.restorer, frame, [(seen.track, seen.face, patch) for seen, patch in painted])
