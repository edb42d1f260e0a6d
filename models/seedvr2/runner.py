"""The runner of SeedVR2: pictures and clips, restored at another size."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.errors import BadRequest
from models.runner import Call, Frames
from models.task import Task, Upscale
from models.weights import Loading

CHUNK_FRAMES = 21  # 4k+1; more is steadier over time and takes more memory
CHUNK_OVERLAP = 4


class SeedVR2:
    """Restores in one step. Loads the 3B or the 7B layout, whichever it is given; files may be spread over several checkpoints."""

    def __init__(self, loading: Loading) -> None:
        from models.seedvr2.loading import load
        from models.seedvr2.tiling import Tiling

        self.networks = load(tuple(loading.files.values()), loading.device)
        self.tiles = Tiling()

    def run(self, task: Task, call: Call) -> Iterator[Frames]:
        """Restore `task.image`. Raises BadRequest, OutOfMemory, and what `call.check` raises."""
        assert isinstance(task, Upscale)
        if task.image is None:
            raise BadRequest("image is missing: send the picture to upscale")
        yield Frames(self._restore(task, task.image[None], call, multiple=1), np.zeros(1))

    def transform(self, task: Task, frames: Iterator[Frames], call: Call) -> Iterator[Frames]:
        """Restore frames as they arrive, a chunk at a time; the sides of the result are even. Raises as `run` does."""
        from models.seedvr2.chunks import in_chunks

        assert isinstance(task, Upscale)
        chunks = 0

        def restore(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            nonlocal chunks
            restored = self._restore(task, pixels, call, multiple=2)
            chunks += 1
            call.facts["chunks"] = chunks
            call.step("chunk", chunks, chunks)  # nobody knows how many are still to come
            return restored

        yield from in_chunks(frames, restore, length=CHUNK_FRAMES, overlap=CHUNK_OVERLAP)

    def close(self) -> None:
        """Free the weights."""
        import torch

        del self.networks
        torch.cuda.empty_cache()

    def _restore(self, task: Upscale, pixels: NDArray[np.uint8], call: Call, *, multiple: int) -> NDArray[np.uint8]:
        from models.seedvr2.geometry import target_size
        from models.seedvr2.pipeline import restore

        height, width = pixels.shape[1:3]
        size = target_size(height, width, resolution=task.resolution, max_resolution=task.max_resolution, multiple=multiple)
        call.facts.update(width=size[1], height=size[0])
        call.check()
        return restore(self.networks, pixels, size, seed=task.seed, colour=task.colour, tiles=self.tiles, call=call)
