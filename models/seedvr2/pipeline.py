"""Restores one clip in one piece: fit, encode, one sampling step, decode, colours."""

import time
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray
from torch import Tensor  # noqa: TID253

from models.errors import OutOfMemory
from models.runner import Call
from models.seedvr2 import geometry, sampler, tiling
from models.seedvr2.colour import Colour, transfer
from models.seedvr2.dit import OnBlock
from models.seedvr2.loading import Networks


def restore(
    networks: Networks, pixels: NDArray[np.uint8], size: tuple[int, int], *, seed: int, colour: Colour, tiles: tiling.Tiling, call: Call
) -> NDArray[np.uint8]:
    """Restore frames (T, h, w, 3) at `size` (H, W): uint8 (T, H, W, 3). Reports each tile and each block to `call`.

    Raises OutOfMemory, and what `call.check` raises; after either the networks are as before.
    """
    device, dtype = networks.prompt.device, networks.prompt.dtype
    try:
        with torch.inference_mode():
            frames = torch.tensor(pixels, device=device).permute(0, 3, 1, 2).float() / 127.5 - 1
            original = geometry.resize(frames, size)  # (T, 3, H, W)
            clip = geometry.padded(original).transpose(0, 1)[None].to(dtype)  # (1, 3, 4k+1, 16m, 16n)
            with _stage(call, "encode", device) as report:
                low = tiling.encode(networks.vae, clip, tiles, report)
            with _stage(call, "denoise", device) as report:
                latents = sampler.restore(networks.dit, low, networks.prompt, seed, report)
            with _stage(call, "decode", device) as report:
                restored = tiling.decode(networks.vae, latents, tiles, report)[0].transpose(0, 1)[..., : size[0], : size[1]]
                coloured = (transfer(new.float(), old, colour) for new, old in zip(restored, original, strict=False))
                return np.stack([_as_pixels(frame) for frame in coloured])
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory(
            f"the card ran out of memory on {len(pixels)} frames of {size[1]}x{size[0]}; ask for a lower resolution"
        ) from error


def _as_pixels(frame: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) in −1..1 to uint8 (H, W, 3)."""
    return ((frame + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


@contextmanager
def _stage(call: Call, stage: str, device: torch.device) -> Generator[OnBlock, None, None]:
    """Time a stage, and give out its progress report.

    The report waits for the card: without that, the work of a whole stage would be queued in an instant, and neither its
    progress nor a cancel would mean anything.
    """
    began = time.perf_counter()

    def report(done: int, total: int) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        call.step(stage, done, total)

    yield report
    call.spent(stage, time.perf_counter() - began)
