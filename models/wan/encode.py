"""Frames to latents: the way back of `decode`, for clips that go on from frames that are there already."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.wan.decode import statistics


def encode(vae: Any, pixels: NDArray[np.uint8]) -> Any:
    """Latents (1, C, k+1, h, w) of unit variance for frames (4k+1, H, W, 3)."""
    import torch

    clip = torch.from_numpy(pixels).permute(3, 0, 1, 2)[None].to(vae.device, vae.dtype) / 127.5 - 1
    with torch.no_grad():
        latents = vae.encode(clip).latent_dist.mode()
    mean, deviation = statistics(vae, latents)
    return (latents - mean) / deviation
