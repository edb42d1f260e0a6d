"""The part of a picture that is repainted: where it is, how it fades in, and how the rest is kept while the part is denoised."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch  # noqa: TID253 (only imported inside functions)
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler  # noqa: TID253
from numpy.typing import NDArray

from models.errors import BadRequest
from models.task import Image


def stretched(mask: NDArray[np.uint8], width: int, height: int) -> NDArray[np.bool_]:
    """The mask (H, W) on a picture of another size. Raises BadRequest when nothing would change."""
    import cv2

    free = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)) >= 128
    if not free.any():
        raise BadRequest("mask_image has nothing white in it, so nothing would change; paint what should change white")
    return free


def laid_over(source: Image, change: Image, free: NDArray[np.bool_], feather: int) -> Image:
    """`change` where `free`, fading in over `feather` pixels from its edge; every other pixel of `source` as it is."""
    import cv2

    # Padded with free, so that the border of the picture is no edge of the mask.
    padded = np.pad(free.astype(np.uint8), 1, mode="edge")
    depth = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 5))[1:-1, 1:-1]
    weight = (np.clip(depth / (feather + 1), 0, 1) if feather else free.astype(np.float32))[..., None]
    mixed = source + (change.astype(np.float32) - source) * weight
    return np.where(free[..., None], mixed.round(), source).astype(np.uint8)


def cells(free: NDArray[np.bool_], size: int = 8) -> Any:
    """float32 (1, 1, H/size, W/size): 1 for a latent cell with any free pixel in it, else 0."""
    return torch.nn.functional.max_pool2d(torch.from_numpy(free.astype(np.float32))[None, None], size)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a masked run keeps. source: clean latents; noise: those the run starts from; free: 1 where it may paint. Shapes alike."""

    source: Any
    noise: Any
    free: Any


class KeepingScheduler(FlowMatchEulerDiscreteScheduler):
    """Puts the source, at the noise of the moment, back outside the mask after each step (as in RePaint, Lugmayr et al. 2022)."""

    kept: Kept

    def step(self, model_output: Any, timestep: Any, sample: Any, *args: Any, return_dict: bool = True, **kwargs: Any) -> Any:
        """The next sample, as a tuple like the pipelines ask for it."""
        (following,) = super().step(model_output, timestep, sample, *args, return_dict=False, **kwargs)
        levels: Any = self.sigmas
        sigma = levels[self.step_index].to(following)
        outside = (1 - sigma) * self.kept.source + sigma * self.kept.noise
        return (torch.where(self.kept.free > 0, following, outside.to(following)),)
