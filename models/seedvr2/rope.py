"""Rotary positions of SeedVR2: local to each attention window, on three axes (time, height, width)."""

import math

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from models.seedvr2.config import DitConfig
from models.seedvr2.windows import Layout, Span


class _Frequencies(nn.Module):
    """The frequencies of one axis; kept under the name and in the place that the checkpoint has them."""

    freqs: Tensor

    def __init__(self, freqs: Tensor) -> None:
        super().__init__()
        self.register_buffer("freqs", freqs)


class WindowRope(nn.Module):
    """Rotates queries and keys by where their token lies in its window.

    "joint" (3B): positions count tokens; text takes the first ones, on all axes alike, and video follows it in time.
    "window" (7B): video positions run from −1 to 1 over each window's side, on half of the head; text is not rotated.
    The channels left over by a division in three stay as they are. Computed in float32.
    """

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.joint = config.rope == "joint"
        channels = (config.head_dim if self.joint else config.head_dim // 2) // 3
        if self.joint:
            freqs = 10000.0 ** -(torch.arange(0, channels, 2)[: channels // 2].float() / channels)
        else:
            freqs = torch.linspace(1.0, 128.0, channels // 2) * math.pi
        self.rope = _Frequencies(freqs)

    def forward(self, video: Tensor, text: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Rotate video (T·H·W, heads, channels) and text (L, heads, channels)."""
        video = _rotate(video, self._video_angles(layout, len(text), video.device))
        return (video, _rotate(text, self._text_angles(len(text), text.device))) if self.joint else (video, text)

    def _video_angles(self, layout: Layout, text_tokens: int, device: torch.device) -> Tensor:
        axes = [self._axis(cuts, device) for cuts in layout.cuts]
        if self.joint:
            axes[0] = axes[0] + text_tokens
        freqs = self.rope.freqs.to(device, torch.float32)
        time, height, width = (torch.outer(axis, freqs) for axis in axes)
        whole = (len(time), len(height), len(width), len(freqs))
        table = (time[:, None, None].expand(whole), height[None, :, None].expand(whole), width[None, None].expand(whole))
        return torch.cat(table, dim=-1).flatten(0, 2)  # (T·H·W, 3·frequencies)

    def _text_angles(self, tokens: int, device: torch.device) -> Tensor:
        freqs = self.rope.freqs.to(device, torch.float32)
        return torch.outer(torch.arange(tokens, device=device, dtype=torch.float32), freqs).repeat(1, 3)

    def _axis(self, cuts: tuple[Span, ...], device: torch.device) -> Tensor:
        """Position of each token of one axis within its window."""
        sides = [last - first for first, last in cuts]
        if self.joint:
            return torch.cat([torch.arange(side, device=device, dtype=torch.float32) for side in sides])
        return torch.cat([torch.linspace(-1.0, 1.0, side, device=device) for side in sides])


def _rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn neighbouring pairs of the first channels of x (tokens, heads, channels) by angles (tokens, pairs)."""
    turned, rest = x[..., : 2 * angles.shape[-1]], x[..., 2 * angles.shape[-1] :]
    even, odd = turned.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    pairs = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
    return torch.cat((pairs.flatten(-2).to(x.dtype), rest), dim=-1)
