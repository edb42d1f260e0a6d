"""The causal video autoencoder of SeedVR2: 8x8 pixels and 4 frames become one latent of 16 channels."""

from collections.abc import Callable
from itertools import pairwise

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn.functional import silu  # noqa: TID253

from models.seedvr2.config import LATENT_CHANNELS, TEMPORAL, VaeConfig
from models.seedvr2.layers import NORM_EPS, CausalConv3d, DownBlock, FrameNorm, Middle, Past, UpBlock

TIME_STEPS = 2  # scales, of those that change the sides, that change the frames as well: the two of fewest pixels


class Encoder(nn.Module):
    """Pixels to the mean and log variance of the latents."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        widths, last = config.channels, len(config.channels) - 1
        self.conv_in = CausalConv3d(3, widths[0], (3, 3, 3))
        self.down_blocks = nn.ModuleList(
            DownBlock(inputs, outputs, config, down=i < last, time=i >= last - TIME_STEPS)
            for i, (inputs, outputs) in enumerate(pairwise((widths[0], *widths)))
        )
        self.mid_block = Middle(widths[-1], config.groups)
        self.conv_norm_out = FrameNorm(config.groups, widths[-1], NORM_EPS)
        self.conv_out = CausalConv3d(widths[-1], 2 * LATENT_CHANNELS, (3, 3, 3))

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """(1, 3, T, H, W) to (1, 32, T/4, H/8, W/8)."""
        x = self.conv_in(x, past)
        for block in self.down_blocks:
            x = block(x, past)
        x = self.mid_block(x, past)
        return self.conv_out(silu(self.conv_norm_out(x)), past)


class Decoder(nn.Module):
    """Latents to pixels."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        widths, last = config.channels[::-1], len(config.channels) - 1
        self.conv_in = CausalConv3d(LATENT_CHANNELS, widths[0], (3, 3, 3))
        self.mid_block = Middle(widths[0], config.groups)
        self.up_blocks = nn.ModuleList(
            UpBlock(inputs, outputs, config, up=i < last, time=i < TIME_STEPS)
            for i, (inputs, outputs) in enumerate(pairwise((widths[0], *widths)))
        )
        self.conv_norm_out = FrameNorm(config.groups, widths[-1], NORM_EPS)
        self.conv_out = CausalConv3d(widths[-1], 3, (3, 3, 3))

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """(1, 16, T, H, W) to (1, 3, 4T, 8H, 8W), less the first three frames at a clip's begin."""
        x = self.mid_block(self.conv_in(x, past), past)
        for block in self.up_blocks:
            x = block(x, past)
        return self.conv_out(silu(self.conv_norm_out(x)), past)


class SeedVR2Autoencoder(nn.Module):
    """Encodes and decodes clips of 4k+1 frames, four at a time, so that memory does not grow with the clip."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, pixels: Tensor) -> Tensor:
        """Mean latents (1, 16, k+1, H/8, W/8) of pixels (1, 3, 4k+1, H, W) in −1..1; sides are multiples of 8."""
        return _in_slices(self.encoder, pixels, TEMPORAL)[:, :LATENT_CHANNELS]

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels (1, 3, 4k+1, 8H, 8W), about −1..1, of latents (1, 16, k+1, H, W)."""
        return _in_slices(self.decoder, latents, 1)


def _in_slices(network: Callable[[Tensor, Past | None], Tensor], clip: Tensor, frames: int) -> Tensor:
    """Run `network` over slices of `frames`, the first of which has the clip's first frame on top."""
    if clip.shape[2] <= 1 + frames:
        return network(clip, None)
    past, results = Past(), list[Tensor]()
    for part in clip.split([1 + frames, *[frames] * ((clip.shape[2] - 1) // frames - 1)], dim=2):
        results.append(network(part, past))
        past.begun = True
    return torch.cat(results, dim=2)
