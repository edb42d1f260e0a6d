"""Latents to frames in a stream: the VAE is causal in time, so each latent frame can be shown before the next one is decoded."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def decode(vae: Any, latents: Any) -> Iterator[NDArray[np.uint8]]:
    """Yield frames (T, H, W, 3) latent by latent: one frame for the first, then four each; together they equal `vae.decode`.

    latents: (1, C, T, h, w) as the transformer leaves them, of unit variance.
    """
    import torch
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d

    memory: list[Any] = [None] * sum(isinstance(module, WanCausalConv3d) for module in vae.decoder.modules())
    with torch.no_grad():
        coded = vae.post_quant_conv(_denormalised(vae, latents).contiguous(memory_format=torch.channels_last_3d))
    for index in range(coded.shape[2]):
        yield _decode_one(vae, coded[:, :, index : index + 1], memory, first=index == 0)


def statistics(vae: Any, like: Any) -> tuple[Any, Any]:
    """Mean and deviation of the latents by channel, (1, C, 1, 1, 1), as the VAE's authors measured them."""
    import torch

    mean, deviation = (torch.tensor(values).view(1, -1, 1, 1, 1).to(like) for values in (vae.config.latents_mean, vae.config.latents_std))
    return mean, deviation


def _denormalised(vae: Any, latents: Any) -> Any:
    latents = latents.to(vae.device, vae.dtype)
    mean, deviation = statistics(vae, latents)
    return latents / (1.0 / deviation) + mean  # written as the pipeline writes it, to agree with it bit by bit


def _decode_one(vae: Any, coded: Any, memory: list[Any], *, first: bool) -> NDArray[np.uint8]:
    """One latent frame; `memory` holds what each causal convolution saw of the frames before, and is brought up to date."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

    with torch.no_grad():
        pixels = vae.decoder(coded, feat_cache=memory, feat_idx=[0], first_chunk=first)  # (1, 3·p², 1 or 4, H/p, W/p)
        if vae.config.patch_size is not None:
            pixels = unpatchify(pixels, vae.config.patch_size)
        shades = (pixels[0].clamp(-1, 1) / 2 + 0.5).mul(255).round().to(torch.uint8)
        return shades.permute(1, 2, 3, 0).cpu().numpy()
