"""The one sampling step of SeedVR2."""

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

from models.seedvr2.config import LATENT_SCALE
from models.seedvr2.dit import OnBlock, SeedVR2Transformer

TIMESTEP = 1000.0  # pure noise


def restore(dit: SeedVR2Transformer, latents: Tensor, prompt: Tensor, seed: int, on_block: OnBlock) -> Tensor:
    """Latents (1, 16, T, H, W) of a restored clip, from those of its low-quality one.

    On the straight path from clip to noise the velocity is noise − clip, so that a whole step from pure noise is noise − velocity.
    The noise comes from the CPU: a seed means the same on every card.
    """
    low = (latents * LATENT_SCALE)[0].permute(1, 2, 3, 0).to(prompt.dtype)  # (T, H, W, 16)
    noise = torch.randn(low.shape, generator=torch.Generator().manual_seed(seed)).to(low)
    known = torch.ones_like(low[..., :1])
    velocity = dit(torch.cat((noise, low, known), dim=-1), prompt, TIMESTEP, on_block)
    return (noise - velocity).permute(3, 0, 1, 2)[None] / LATENT_SCALE
