"""GFPGAN v1.2 to v1.4 ("clean"): a U-Net reads the face, a StyleGAN2 decoder paints it anew, steered by the U-Net's features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from models.faceswap.gfpgan.layers import ResBlock, StyleConv, ToRgb

UNUSED = ("stylegan_decoder.style_mlp.", "toRGB.")  # of training: styles come from the U-Net, and only the last picture counts


@dataclass(frozen=True, slots=True)
class Shape:
    """Widths of the network, by size: 4, 8, 16… pixels. unet, decoder: channels; style: length of a style."""

    unet: tuple[int, ...]
    decoder: tuple[int, ...]
    style: int

    @property
    def side(self) -> int:
        """Pixels of a picture's side."""
        return 4 << (len(self.decoder) - 1)

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> "Shape":
        """From the published tensors. Raises KeyError for a name that is not there."""
        sizes = 1 + sum(name.endswith(".bias") and name.count(".") == 3 for name in weights if name.startswith("stylegan_decoder.to_rgbs."))
        decoder = [weights["stylegan_decoder.to_rgb1.modulated_conv.weight"].shape[2]]
        decoder += [weights[f"stylegan_decoder.to_rgbs.{i}.modulated_conv.weight"].shape[2] for i in range(sizes - 1)]
        unet = [weights["final_conv.weight"].shape[0]]
        unet += [weights[f"conv_body_up.{i}.conv2.weight"].shape[0] for i in range(sizes - 1)]
        style = weights["stylegan_decoder.style_conv1.modulated_conv.modulation.weight"].shape[1]
        return cls(tuple(unet), tuple(decoder), style)


class _Constant(nn.Module):
    """What the decoder begins with."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, channels, 4, 4))


class Decoder(nn.Module):
    """StyleGAN2's synthesis network, half of whose channels are scaled and shifted by conditions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        first, *others = shape.decoder
        self.constant_input = _Constant(first)
        self.style_conv1 = StyleConv(first, first, shape.style)
        self.to_rgb1 = ToRgb(first, shape.style)
        self.style_convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        self.noises = nn.Module()
        for layer in range(2 * len(others) + 1):
            side = 2 ** ((layer + 5) // 2)
            self.noises.register_buffer(f"noise{layer}", torch.empty(1, 1, side, side))
        for c_in, c_out in zip(shape.decoder, others, strict=False):
            self.style_convs.extend([StyleConv(c_in, c_out, shape.style, up=True), StyleConv(c_out, c_out, shape.style)])
            self.to_rgbs.append(ToRgb(c_out, shape.style))

    def forward(self, styles: Tensor, conditions: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Styles (N, layers, S); conditions: scale and shift for each size from 8 pixels on. The picture (N, 3, side, side).

        The noise is the stored one, so that equal faces come out equal.
        """
        noises = list(self.noises.buffers())
        x = self.constant_input.weight.expand(len(styles), -1, -1, -1)
        x = self.style_conv1(x, styles[:, 0], noises[0])
        picture = self.to_rgb1(x, styles[:, 1], None)
        for level, ((scale, shift), to_rgb) in enumerate(zip(conditions, self.to_rgbs, strict=True)):
            x = self.style_convs[2 * level](x, styles[:, 2 * level + 1], noises[2 * level + 1])
            same, steered = x.chunk(2, dim=1)
            x = torch.cat([same, steered * scale + shift], dim=1)
            x = self.style_convs[2 * level + 1](x, styles[:, 2 * level + 2], noises[2 * level + 2])
            picture = to_rgb(x, styles[:, 2 * level + 3], picture)
        return picture


class Gfpgan(nn.Module):
    """The whole network: pictures (N, 3, side, side), RGB in -1..1, to the same restored."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        largest_first = shape.unet[::-1]
        self.conv_body_first = nn.Conv2d(3, largest_first[0], 1)
        self.conv_body_down = nn.ModuleList(ResBlock(c_in, c_out, 0.5) for c_in, c_out in pairwise(largest_first))
        self.final_conv = nn.Conv2d(shape.unet[0], shape.unet[0], 3, padding=1)
        self.conv_body_up = nn.ModuleList(ResBlock(c_in, c_out, 2) for c_in, c_out in pairwise(shape.unet))
        self.final_linear = nn.Linear(shape.unet[0] * 16, (2 * len(shape.decoder)) * shape.style)
        self.stylegan_decoder = Decoder(shape)
        halves = [channels // 2 for channels in shape.decoder[1:]]
        self.condition_scale = nn.ModuleList(_condition(c, half) for c, half in zip(shape.unet[1:], halves, strict=True))
        self.condition_shift = nn.ModuleList(_condition(c, half) for c, half in zip(shape.unet[1:], halves, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = F.leaky_relu(self.conv_body_first(x), 0.2)
        skips: list[Tensor] = []
        for down in self.conv_body_down:
            x = down(x)
            skips.append(x)
        x = F.leaky_relu(self.final_conv(x), 0.2)
        styles = self.final_linear(x.flatten(1)).reshape(len(x), -1, self.shape.style)
        conditions: list[tuple[Tensor, Tensor]] = []
        for up, scale, shift in zip(self.conv_body_up, self.condition_scale, self.condition_shift, strict=True):
            x = up(x + skips.pop())
            conditions.append((scale(x), shift(x)))
        return self.stylegan_decoder(styles, conditions)


def _condition(c_in: int, c_out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(c_in, c_in, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(c_in, c_out, 3, padding=1))
