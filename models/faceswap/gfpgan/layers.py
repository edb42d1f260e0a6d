"""The decoder's layers: StyleGAN2 (Karras et al. 2020) in the form GFPGAN calls clean, without custom kernels.

Modules and parameters carry the names of the published weights.
"""

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

_EPSILON = 1e-8
_SLOPE = 0.2


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style, and whose output then is brought back to unit variance."""

    def __init__(self, c_in: int, c_out: int, kernel: int, style: int, *, demodulate: bool = True, up: bool = False) -> None:
        super().__init__()
        self.modulation = nn.Linear(style, c_in)
        self.weight = nn.Parameter(torch.empty(1, c_out, c_in, kernel, kernel))
        self.demodulate = demodulate
        self.up = up

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """X (N, c_in, H, W), style (N, S); twice the size with `up`."""
        n, c_in = x.shape[:2]
        weight = self.weight * self.modulation(style).reshape(n, 1, c_in, 1, 1)
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum(dim=(2, 3, 4), keepdim=True) + _EPSILON)
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        height, width = x.shape[2:]
        # One group a picture: each has a kernel of its own.
        out = F.conv2d(x.reshape(1, n * c_in, height, width), weight.flatten(0, 1), padding=weight.shape[-1] // 2, groups=n)
        return out.reshape(n, -1, height, width)


class StyleConv(nn.Module):
    """A modulated convolution with noise, bias and activation."""

    def __init__(self, c_in: int, c_out: int, style: int, *, up: bool = False) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv(c_in, c_out, 3, style, up=up)
        self.weight = nn.Parameter(torch.empty(1))  # of the noise
        self.bias = nn.Parameter(torch.empty(1, c_out, 1, 1))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Noise (1, 1, H, W) of the output's size."""
        out = self.modulated_conv(x, style) * 2**0.5
        return F.leaky_relu(out + self.weight * noise + self.bias, _SLOPE)


class ToRgb(nn.Module):
    """Features to a picture, added to that of the size before."""

    def __init__(self, c_in: int, style: int) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv(c_in, 3, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.empty(1, 3, 1, 1))

    def forward(self, x: Tensor, style: Tensor, before: Tensor | None) -> Tensor:
        """Before (N, 3, H/2, W/2), or None at the smallest size."""
        out = self.modulated_conv(x, style) + self.bias
        if before is None:
            return out
        return out + F.interpolate(before, scale_factor=2, mode="bilinear", align_corners=False)


class ResBlock(nn.Module):
    """Two convolutions beside a skip, the size halved or doubled between them."""

    def __init__(self, c_in: int, c_out: int, factor: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_in, 3, padding=1)
        self.conv2 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """X (N, c_in, H, W) to (N, c_out, factor H, factor W)."""
        out = F.leaky_relu(self._scaled(F.leaky_relu(self.conv1(x), _SLOPE), self.conv2), _SLOPE)
        return out + self._scaled(x, self.skip)

    def _scaled(self, x: Tensor, then: nn.Module) -> Tensor:
        return then(F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False))
