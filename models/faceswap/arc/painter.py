"""Painting an identity over faces on the CPU: cut with OpenCV, swap in onnxruntime, warp back into each face's rectangle."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.faceswap.arc.align import similarity
from models.faceswap.arc.boost import check, join, split
from models.faceswap.arc.inswapper import SwapNetwork
from models.faceswap.arc.region import SIZE, cut, patches
from models.faceswap.engine import Patch


class Painter(Protocol):
    """Paints an identity over one face a frame. Thread-safe."""

    name: str

    def patches(
        self, frames: NDArray[np.uint8], landmarks: NDArray[np.float32], latent: NDArray[np.float32], boost: int = 1
    ) -> list[Patch]:
        """One patch a frame: `frames` (N, H, W, 3), `landmarks` (N, 5, 2), `latent` (512,), painted at `boost` times 128 pixels."""
        ...


class HostPainter:
    """A `Painter` for frames and networks on the CPU."""

    def __init__(self, swapper: SwapNetwork) -> None:
        self.name = swapper.name
        self._swapper = swapper

    def patches(
        self, frames: NDArray[np.uint8], landmarks: NDArray[np.float32], latent: NDArray[np.float32], boost: int = 1
    ) -> list[Patch]:
        """See `Painter`."""
        check(boost)
        crops = similarity(landmarks, SIZE * boost)
        cuts = np.stack([cut(frame, crop, SIZE * boost) for frame, crop in zip(frames, crops, strict=True)])
        planes = split(np.ascontiguousarray(cuts.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255), boost)
        fakes = join(self._swapper.run(planes, np.tile(latent, (len(planes), 1))), boost)
        painted = (fakes.transpose(0, 2, 3, 1).clip(0, 1) * 255 + 0.5).astype(np.uint8)
        return patches(np.ascontiguousarray(painted), crops, frames.shape[1], frames.shape[2])
