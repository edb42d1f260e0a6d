"""The face swapper: one engine, and around it what all engines share - tracking, steadying, batching, pasting."""

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from models.errors import BadRequest, NoFaceFound
from models.faceswap.brush import Batch, Brush
from models.faceswap.embedded import EmbeddedEngine
from models.faceswap.engine import Engine, Source
from models.faceswap.mesh import Mesh
from models.faceswap.occlusion import Occlusion
from models.faceswap.restore import Restorer, Steadying, chosen
from models.faceswap.safety import Guard
from models.faceswap.smoothing import smooth
from models.faceswap.tracker import Tracked, Tracker
from models.faceswap.watermark import mark
from models.runner import Call, Frames
from models.task import SourceFace, SwapFaces, Task
from models.weights import Loading


class FaceSwapper:
    """Puts source faces on the chosen people of each frame. Thread-safe: any number of calls at a time.

    Roles: "insightface" (a folder with its three networks) for the `insightface` engine; without it the `embedded` one. "restorer" (a
    folder with GFPGAN's weights) for a face restorer; without it there is none.
    """

    def __init__(self, loading: Loading, restorer: Restorer | None = None) -> None:
        self.engine = _engine(loading)
        self.restorer = restorer if restorer is not None else _restorer(loading)
        self._mesh = Mesh()
        self._marks = loading.safety.watermark
        self._guard = Guard(loading.safety, self.engine if isinstance(self.engine, EmbeddedEngine) else EmbeddedEngine())
        # While one batch is painted the next is tracked and the last one encoded.
        self._workers = min(4, len(os.sched_getaffinity(0)))
        self._painters = ThreadPoolExecutor(self._workers, thread_name_prefix="paint")

    def run(self, task: Task, call: Call) -> Iterator[Frames]:
        """Decode the task's target and swap; see `transform`."""
        from models.media import Limits, decode, probe

        task = _mine(task)
        if task.target is None:
            raise BadRequest("a face swap needs a target: the picture or clip to change")
        info = probe(task.target, "the target", Limits())
        frames = info.frames if task.fps is None or info.kind != "video" else round((info.seconds or 0.0) * task.fps)
        return self._swap(task, decode(task.target, fps=task.fps), call, frames or 0)

    def transform(self, task: Task, frames: Iterator[Frames], call: Call) -> Iterator[Frames]:
        """Swap the face in `frames`, holding back a few of them; frames without a face come out unchanged.

        Facts: "engine", "frames", "faces_swapped" (frames with a swapped face), "restored", and what the guard says. Seconds: "track",
        "swap".
        Raises Refused where the safety rules say so; NoFaceFound for a source without a face, and at the end for a target without one
        when the task requires it; WeightsMissing when a restorer, or a gate that the place requires, is not installed.
        """
        return self._swap(_mine(task), frames, call, 0)

    def close(self) -> None:
        """Stop the painting threads."""
        self._painters.shutdown(wait=True, cancel_futures=True)

    def _swap(self, task: SwapFaces, frames: Iterator[Frames], call: Call, total: int) -> Iterator[Frames]:
        """See `transform`. total: how many frames come, 0 when that is not known."""
        restorer = chosen(task.restore, self.restorer)
        call.facts |= {"engine": self.engine.name, "frames": 0, "faces_swapped": 0, "restored": restorer is not None}
        if self._guard.admit(task, call):
            frames = self._guard.watch(frames, call)
        sources = [self._read(source, call) for source in task.sources]
        tracked = smooth(_checked(Tracker(self.engine, task.sources).track(frames), call))
        if task.mask.occlusion:
            tracked = Occlusion(self._mesh).find(tracked)
        brush = Brush(self.engine, sources, task.mask, task.boost, restorer, self._mesh)
        steadying = Steadying(task.restore_visibility)
        done = swapped = 0
        for batch in self._paint(tracked, brush, call):
            for pixels, restored in zip(batch.frames.pixels, batch.restored, strict=True):
                steadying.lay(pixels, restored)
            for row in batch.painted if self._marks else ():
                mark(batch.frames.pixels[row])
            done += len(batch.frames.pixels)
            swapped += len(batch.painted)
            call.facts |= {"frames": done, "faces_swapped": swapped}
            call.spent("swap", batch.seconds)
            call.step("swap", done, max(done, total) if total else 0)
            yield batch.frames
        if task.require_face and not swapped:
            raise NoFaceFound(
                "no face was found in the target, or not the chosen one; send one that shows it, choose another by face, "
                "or leave out require_face to get the target back unchanged"
            )

    def _read(self, source: SourceFace, call: Call) -> Source:
        call.check()
        return self.engine.read_source(source.image)

    def _paint(self, tracked: Iterator[Tracked], brush: Brush, call: Call) -> Iterator[Batch]:
        """Batches in order; a few are painted at a time, while the caller consumes the ones before."""
        pending: deque[Future[Batch]] = deque()
        try:
            while True:
                started = time.perf_counter()
                items = list(islice(tracked, self.engine.batch))
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


def _checked(items: Iterable[Tracked], call: Call) -> Iterator[Tracked]:
    """The same items, with a look at the call before each: a run stops within one frame."""
    for item in items:
        call.check()
        yield item


def _engine(loading: Loading) -> Engine:
    folder = loading.files.get("insightface")
    if folder is not None:
        from models.faceswap.insightface import InsightFaceEngine

        return InsightFaceEngine(folder, loading.device, loading.compiled)
    return EmbeddedEngine()


def _restorer(loading: Loading) -> Restorer | None:
    folder = loading.files.get("restorer")
    if folder is None:
        return None
    from models.faceswap.gfpgan import GfpganRestorer

    return GfpganRestorer(folder, loading.device)


def _mine(task: Task) -> SwapFaces:
    if not isinstance(task, SwapFaces):
        raise BadRequest(f"the face swapper swaps faces, it has no use for {type(task).__name__}")
    return task
