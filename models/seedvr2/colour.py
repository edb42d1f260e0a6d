"""Colour transfer: what the networks change in the colours of a picture is undone, its new detail is kept."""

from typing import Literal, TypeAlias

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253
from torch.nn.functional import conv2d, pad  # noqa: TID253

Colour: TypeAlias = Literal["wavelet", "lab", "none"]

LEVELS = 5  # the coarsest blur reaches 2**5 pixels
LIGHTNESS_SHARE = 0.2  # how far lightness follows the input in "lab"; hues follow it wholly

# CIE 1976 L*a*b* of linear sRGB under D65 (IEC 61966-2-1).
RGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
WHITE = (0.95047, 1.0, 1.08883)
KNEE = 6 / 29


def transfer(restored: Tensor, original: Tensor, colour: Colour) -> Tensor:
    """Give `restored` the colours of `original`, both one frame (3, H, W) in −1..1, float32. Returned clamped to −1..1."""
    if colour == "none":
        return restored.clamp(-1, 1)
    # Detail of one plus low frequencies of the other; the blur is linear, so that one blur of the difference does it.
    matched = (restored + blur(original - restored)).clamp(-1, 1)
    return matched if colour == "wavelet" else match_lab(matched, original)


def blur(frame: Tensor) -> Tensor:
    """Low frequencies of a frame (3, H, W): the à trous wavelet transform's last scale, borders repeated."""
    line = torch.tensor([0.25, 0.5, 0.25], device=frame.device)
    planes = frame[:, None]
    for level in range(LEVELS):
        reach = 2**level
        planes = conv2d(pad(planes, (reach, reach, 0, 0), mode="replicate"), line.view(1, 1, 1, 3), dilation=reach)
        planes = conv2d(pad(planes, (0, 0, reach, reach), mode="replicate"), line.view(1, 1, 3, 1), dilation=reach)
    return planes[:, 0]


def match_lab(frame: Tensor, reference: Tensor) -> Tensor:
    """Give a frame the reference's distribution of hues, and some of that of its lightness."""
    lab, wanted = to_lab(frame), to_lab(reference)
    lightness, a, b = (_match(channel, target) for channel, target in zip(lab, wanted, strict=True))
    return from_lab(torch.stack((torch.lerp(lab[0], lightness, LIGHTNESS_SHARE), a, b)))


def _match(channel: Tensor, target: Tensor) -> Tensor:
    """Replace each value by the target's at the same rank; equal values stay equal."""
    ordered, wanted = channel.flatten().sort().values, target.flatten().sort().values
    first, last = (torch.searchsorted(ordered, channel.flatten(), right=right) for right in (False, True))
    return wanted[(first + last - 1) // 2].view(channel.shape)


def to_lab(frame: Tensor) -> Tensor:
    """Colours (3, H, W) of sRGB in −1..1 to L*a*b*."""
    rgb = (frame + 1) / 2
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = torch.einsum("ij,jhw->ihw", _matrix(frame.device), linear) / _white(frame.device)
    x, y, z = torch.where(xyz > KNEE**3, xyz ** (1 / 3), xyz / (3 * KNEE**2) + 4 / 29)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)))


def from_lab(lab: Tensor) -> Tensor:
    """L*a*b* (3, H, W) to sRGB in −1..1; colours it cannot show are clamped."""
    y = (lab[0] + 16) / 116
    f = torch.stack((y + lab[1] / 500, y, y - lab[2] / 200))
    xyz = torch.where(f > KNEE, f**3, 3 * KNEE**2 * (f - 4 / 29)) * _white(lab.device)
    linear = torch.einsum("ij,jhw->ihw", torch.linalg.inv(_matrix(lab.device)), xyz).clamp(0, 1)
    rgb = torch.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return rgb * 2 - 1


def _matrix(device: torch.device) -> Tensor:
    return torch.tensor(RGB_TO_XYZ, device=device)


def _white(device: torch.device) -> Tensor:
    return torch.tensor(WHITE, device=device)[:, None, None]
