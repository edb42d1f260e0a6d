"""Sizes: what a task's resolution means for a picture, and how frames get to that size and to one the networks take."""

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253
from torch.nn.functional import interpolate, pad  # noqa: TID253

from models.errors import BadRequest
from models.seedvr2.config import PATCH, SPATIAL, TEMPORAL

MULTIPLE = SPATIAL * PATCH  # pixels of a token
SMALLEST = 16
LARGEST = 8192


def target_size(height: int, width: int, *, resolution: int, max_resolution: int, multiple: int = 1) -> tuple[int, int]:
    """Height and width of the result: a short side of `resolution`, or less where the long side would pass `max_resolution`.

    Both sides are rounded to `multiple` (2 for clips, since video codecs want even sides). Raises BadRequest.
    """
    for name, value in (("resolution", resolution), ("max_resolution", max_resolution)):
        if not SMALLEST <= value <= LARGEST:
            raise BadRequest(f"{name} must be {SMALLEST} to {LARGEST} pixels, got {value}")
    scale = min(resolution / min(height, width), max_resolution / max(height, width))
    rows, columns = (multiple * round(side * scale / multiple) for side in (height, width))
    if min(rows, columns) < SMALLEST:
        raise BadRequest(f"a picture of {width}x{height} would become {columns}x{rows}, below {SMALLEST} pixels; raise max_resolution")
    return rows, columns


def resize(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames (T, 3, H, W) in −1..1 at `size`, bicubic, averaging where they shrink."""
    if frames.shape[2:] == size:
        return frames
    return interpolate(frames, size, mode="bicubic", antialias=True).clamp(-1, 1)


def padded(frames: Tensor) -> Tensor:
    """Frames (T, 3, H, W) with the last frame, row and column repeated up to 4k+1 frames and sides of whole tokens."""
    count, _, height, width = frames.shape
    frames = pad(frames, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
    return torch.cat((frames, frames[-1:].expand(-(count - 1) % TEMPORAL, -1, -1, -1)))
