"""The face swapper: one engine, and around it what all engines share - tracking, steadying, batching, pasting."""

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from models.errors import BadRequest, NoFaceFound
from models.faceswap.engine import Engine, Source
from models.faceswap.paste import paste
from models.faceswap.restore import Restorer, chosen
from models.faceswap.smoothing import smooth
from models.faceswap.tracker import Tracked, Tracker
from models.runner import Call, Frames
from models.task import SwapFaces, Task
from models.weights import Loading


class FaceSwapper:
    """Puts a source face on the largest face of each frame. Thread-safe: any number of calls at a time.

    Roles: "insightface" (a folder with its three networks) for the `insightface` engine; without it the `embedded` one.
    """

    def __init__(self, loading: Loading, restorer: Restorer | None = None) -> None:
        self.engine = _engine(loading)
        self.restorer = restorer
        # While one batch is painted the next is tracked and the last one encoded.
        self._workers = min(4, len(os.sched_getaffinity(0)))
        self._painters = ThreadPoolExecutor(self._workers, thread_name_prefix="paint")

    def run(self, task: Task, call: Call) -> Iterator[Frames]:
        """Decode the task's target and swap; see `transform`."""
        from models.media import decode

        task = _mine(task)
        if task.target is None:
            raise BadRequest("a face swap needs a target: the picture or clip to change")
        return self.transform(task, decode(task.target, fps=task.fps), call)

    def transform(self, task: Task, frames: Iterator[Frames], call: Call) -> Iterator[Frames]:
        """Swap the face in `frames`, holding back a few of them; frames without a face come out unchanged.

        Facts: "engine", "frames", "faces_swapped" (frames with a swapped face), "restored". Seconds: "track", "swap".
        Raises NoFaceFound for a source without a face, and at the end for a target without one when the task requires it; WeightsMissing
        when a restorer is required and none is installed.
        """
        task = _mine(task)
        restorer = chosen(task.restore, self.restorer)
        call.facts |= {"engine": self.engine.name, "frames": 0, "faces_swapped": 0, "restored": restorer is not None}
        source = self.engine.read_source(task.source)
        brush = _Brush(self.engine, source, restorer, task.restore_visibility)
        tracked = smooth(Tracker(self.engine).track(frames))
        done = swapped = 0
        for batch in self._paint(tracked, brush, call):
            done += len(batch.frames.pixels)
            swapped += batch.swapped
            call.facts |= {"frames": done, "faces_swapped": swapped}
            call.spent("swap", batch.seconds)
            call.step("swap", done, 0)
            yield batch.frames
        if task.require_face and not swapped:
            raise NoFaceFound(
                "no face was found in the target; send one that shows a face, or leave out require_face to get it back unchanged"
            )

    def close(self) -> None:
        """Stop the painting threads."""
        self._painters.shutdown(wait=True, cancel_futures=True)

    def _paint(self, tracked: Iterator[Tracked], brush: "_Brush", call: Call) -> Iterator["_Batch"]:
        """Batches in order; a few are painted at a time, while the caller consumes the ones before."""
        pending: deque[Future[_Batch]] = deque()
        try:
            while True:
                started = time.perf_counter()
                items = list(_checked(islice(tracked, self.engine.batch), call))
                call.spent("track", time.perf_counter() - started)
                if items:
                    pending.append(self._painters.submit(brush.paint, items))
                while pending and (not items or len(pending) > self._workers or pending[0].done()):
                    yield pending.popleft().result()
                if not items:
                    return
        finally:
            for future in pending:
                future.cancel()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Finished frames, on how many of them a face was swapped, and the seconds that took."""

    frames: Frames
    swapped: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Brush:
    """What one call paints with."""

    engine: Engine
    source: Source
    restorer: Restorer | None
    visibility: float

    def paint(self, items: list[Tracked]) -> _Batch:
        """Paint over the face of each frame that has one, on a copy."""
        started = time.perf_counter()
        pixels = np.stack([item.frame for item in items])
        rows = [row for row, item in enumerate(items) if item.face is not None]
        faces = [item.face for item in items if item.face is not None]
        patches = self.engine.paint(pixels if len(rows) == len(items) else pixels[rows], faces, self.source) if rows else []
        if self.restorer is not None and patches:
            patches = self.restorer.restore(patches, self.visibility)
        for row, patch in zip(rows, patches, strict=True):
            paste(pixels[row], patch)
        swapped = sum(patch.alpha.size > 0 for patch in patches)
        times = np.array([item.time_s for item in items])
        return _Batch(Frames(pixels, times), swapped, time.perf_counter() - started)


def _checked(items: Iterable[Tracked], call: Call) -> Iterator[Tracked]:
    """The same items, with a look at the call before each: a run stops within one frame."""
    for item in items:
        call.check()
        yield item


def _engine(loading: Loading) -> Engine:
    folder = loading.files.get("insightface")
    if folder is not None:
        from models.faceswap.insightface import InsightFaceEngine

        return InsightFaceEngine(folder, loading.device)
    from models.faceswap.embedded import EmbeddedEngine

    return EmbeddedEngine()


def _mine(task: Task) -> SwapFaces:
    if not isinstance(task, SwapFaces):
        raise BadRequest(f"the face swapper swaps faces, it has no use for {type(task).__name__}")
    return task
