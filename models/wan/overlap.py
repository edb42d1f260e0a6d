"""Keeps the latents of frames that are there already while the rest of a clip is denoised around them.

After each step the known part is set to what it must look like at the next noise level, so the free part is drawn towards it
(RePaint, arXiv 2201.09865, without its resampling; here along time).
"""

from typing import Any


class Kept:
    """Known latents (1, C, k, h, w) at the start of a clip of `frames` latent frames. What a pipeline puts before it is left alone."""

    def __init__(self, latents: Any, seed: int, frames: int) -> None:
        import torch

        self._known = latents
        self._noise = torch.randn(latents.shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)
        self._frames = frames

    def put_into(self, latents: Any, sigma: float) -> Any:
        """`latents` with the known part at noise level `sigma` (1 all noise, 0 none)."""
        known, noise = self._known.to(latents), self._noise.to(latents)
        start = latents.shape[2] - self._frames
        latents[:, :, start : start + known.shape[2]] = (1 - sigma) * known + sigma * noise
        return latents
