"""Cutting faces from frames and laying painted ones back, for frames that live on a GPU.

Frames are uint8 (N, H, W, 3), RGB. Where a face lies is worked out on the CPU, so nothing here waits for the GPU.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from numpy.typing import NDArray
from torch import Tensor  # noqa: TID253

from models.faceswap.arc.align import Matrix, invert, similarity
from models.faceswap.arc.boost import check, join, split
from models.faceswap.arc.inswapper_torch import TorchSwapper
from models.faceswap.arc.region import SIZE, regions, soft_mask
from models.faceswap.arc.transfer import upload
from models.faceswap.engine import Patch

_AT_ONCE = 32  # frames on the device at once
_PIXELS = 1 << 22  # pixels pasted at once, each some fifty bytes of working memory


@dataclass(frozen=True, slots=True)
class _Placed:
    """Painted faces in rectangles of one size: left and top (N,), pixels (N, h, w, 3) float32 in 0..255, alpha (N, h, w)."""

    left: NDArray[np.int64]
    top: NDArray[np.int64]
    pixels: Tensor
    alpha: Tensor


class TensorPainter:
    """A `Painter` on a device; `swap` is for frames that are already there, and stay."""

    def __init__(self, swapper: TorchSwapper) -> None:
        self.name = swapper.name
        self.device = swapper.device
        self._swapper = swapper
        self._masks = {SIZE: torch.from_numpy(soft_mask().copy()).to(self.device)}

    def swap(self, frames: Tensor, landmarks: NDArray[np.float32], latent: Tensor, boost: int = 1) -> None:
        """Paint over `frames` in place at `boost` times 128 pixels; `landmarks` (N, 5, 2), `latent` (512,) on the device."""
        check(boost)
        crops = similarity(landmarks, SIZE * boost)
        painted = self._paint(frames, crops, latent, boost)
        for part, placed in self._place(painted, crops, frames.shape[1], frames.shape[2]):
            _blend(frames[part], placed)

    def patches(
        self, frames: NDArray[np.uint8], landmarks: NDArray[np.float32], latent: NDArray[np.float32], boost: int = 1
    ) -> list[Patch]:
        """See `Painter`: the same for frames on the CPU."""
        check(boost)
        on_device = upload(latent, self.device)
        done: list[Patch] = []
        for i in range(0, len(frames), _AT_ONCE):
            done += self._patches(frames[i : i + _AT_ONCE], landmarks[i : i + _AT_ONCE], on_device, boost)
        return done

    def _patches(self, frames: NDArray[np.uint8], landmarks: NDArray[np.float32], latent: Tensor, boost: int) -> list[Patch]:
        height, width = frames.shape[1:3]
        crops = similarity(landmarks, SIZE * boost)
        painted = self._paint(upload(frames, self.device), crops, latent, boost)
        where = regions(crops, height, width, SIZE * boost)
        done: list[Patch] = []
        for part, placed in self._place(painted, crops, height, width):
            pixels, alpha = (placed.pixels + 0.5).to(torch.uint8).cpu().numpy(), placed.alpha.cpu().numpy()
            for i, face in enumerate(range(part.start, part.stop)):
                top, left = int(where.top[face]), int(where.left[face])
                y, x = top - int(placed.top[i]), left - int(placed.left[i])
                inside = slice(y, y + int(where.height[face])), slice(x, x + int(where.width[face]))
                done.append(Patch(top, left, pixels[i][inside], alpha[i][inside]))
        return done

    def _paint(self, frames: Tensor, crops: Matrix, latent: Tensor, boost: int) -> Tensor:
        """Painted crops (N, 3, boost * 128, boost * 128) float32 in 0..255."""
        cuts = split(cut_tensors(frames, crops, SIZE * boost) / 255.0, boost)
        painted = self._swapper.run_tensors(cuts, latent.expand(len(cuts), -1)).float().clamp(0.0, 1.0) * 255.0
        return join(painted, boost)

    def _place(self, painted: Tensor, crops: Matrix, height: int, width: int) -> Iterator[tuple[slice, _Placed]]:
        """Painted crops and the mask warped to rectangles of one size that hold each face, some faces at a time."""
        side = painted.shape[-1]
        where = regions(crops, height, width, side)
        # Rounded up, so that a clip meets few sizes and the allocator can reuse its blocks.
        w, h = (min(limit, -(-int(size.max()) // 64) * 64) for limit, size in ((width, where.width), (height, where.height)))
        if w == 0 or h == 0:
            w, h = min(width, 64), min(height, 64)  # every face is outside its frame; the mask is 0 here
        left, top = np.minimum(where.left, width - w), np.minimum(where.top, height - h)
        matrices = crops.copy()
        matrices[:, :, 2:] += crops[:, :, :2] @ np.stack([left, top], axis=1)[..., None]
        if side not in self._masks:
            self._masks[side] = torch.from_numpy(soft_mask(side).copy()).to(self.device)
        layers = torch.cat([painted, self._masks[side].expand(len(painted), 1, -1, -1)], dim=1)
        step = max(1, _PIXELS // (w * h))
        for start in range(0, len(painted), step):
            part = slice(start, min(start + step, len(painted)))
            placed = _sample(layers[part], matrices[part], h, w)  # (N, 4, h, w)
            yield part, _Placed(left[part], top[part], placed[:, :3].permute(0, 2, 3, 1), placed[:, 3])


def cut_tensors(frames: Tensor, crops: Matrix, size: int) -> Tensor:
    """Crops (N, 3, size, size) float32 in 0..255 of frames (N, H, W, 3), black outside; `crops` goes from frame to crop.

    Bilinear, written out: grid_sample would first need all pixels of all frames as floats.
    """
    n, height, width, _ = frames.shape
    at = _points(invert(crops), size, size, frames.device)  # (N, size, size, 2), frame pixels
    corner = at.floor()
    part = at - corner
    index = torch.arange(n, device=frames.device)[:, None, None]
    total = torch.zeros((n, size, size, 3), device=frames.device)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = corner[..., 0] + dx, corner[..., 1] + dy
        weight = (part[..., 0] if dx else 1 - part[..., 0]) * (part[..., 1] if dy else 1 - part[..., 1])
        weight = weight * ((x >= 0) & (x < width) & (y >= 0) & (y < height))
        pixels = frames[index, y.clamp(0, height - 1).long(), x.clamp(0, width - 1).long()]
        total += weight[..., None] * pixels
    return total.permute(0, 3, 1, 2)


def _sample(images: Tensor, matrices: Matrix, height: int, width: int) -> Tensor:
    """Bilinear samples (N, C, height, width) of images (N, C, H, W); `matrices` goes from output to input pixels; 0 outside."""
    size = np.array([[images.shape[3]], [images.shape[2]]])
    scaled = matrices * (2.0 / size)  # to grid_sample's -1..1, which spans whole pixels: (2 x + 1) / size - 1
    scaled[:, :, 2:] += 1.0 / size - 1.0
    grid = _points(scaled, height, width, images.device)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _points(matrices: Matrix, height: int, width: int, device: torch.device) -> Tensor:
    """Where each pixel of a (height, width) picture goes: float32 (N, height, width, 2), x first.

    No matrix product: TF32, if someone switched it on, would round coordinates to ten bits.
    """
    m = upload(np.nan_to_num(matrices, nan=1e6).astype(np.float32), device)[:, None, None]  # (N, 1, 1, 2, 3)
    x = torch.arange(width, device=device, dtype=torch.float32)[:, None]
    y = torch.arange(height, device=device, dtype=torch.float32)[:, None, None]
    return m[..., 0] * x + m[..., 1] * y + m[..., 2]


def _blend(frames: Tensor, placed: _Placed) -> None:
    n, h, w = placed.alpha.shape
    device = frames.device
    rows = upload(placed.top, device)[:, None] + torch.arange(h, device=device)
    columns = upload(placed.left, device)[:, None] + torch.arange(w, device=device)
    index = torch.arange(n, device=device)[:, None, None], rows[:, :, None], columns[:, None, :]
    below = frames[index].float()  # (N, h, w, 3)
    frames[index] = (below + placed.alpha[..., None] * (placed.pixels - below) + 0.5).to(torch.uint8)
