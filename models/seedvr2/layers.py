"""Layers of the video autoencoder: causal in time, so that a clip can pass in slices with the same result as in one piece.

Tensors are (1, channels, T, H, W) throughout.
"""

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn.functional import conv2d, pad, scaled_dot_product_attention, silu  # noqa: TID253

from models.seedvr2.config import VaeConfig

NORM_EPS = 1e-6


class Past:
    """What the convolutions remember of the slices before the present one: the last frames that each has seen."""

    def __init__(self) -> None:
        self.frames: dict[int, Tensor] = {}
        self.begun = False


class CausalConv3d(nn.Conv3d):
    """A convolution that sees no future: before the first frame it sees that frame repeated."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int], *, stride: tuple[int, int, int] = (1, 1, 1)) -> None:
        same = stride == (1, 1, 1)  # a convolution that shrinks gets its padding from `Downsample`
        super().__init__(inputs, outputs, kernel, stride, padding=(0, kernel[1] // 2, kernel[2] // 2) if same else 0)
        self.lead = kernel[0] - 1
        self.keep = kernel[0] - stride[0]

    def forward(self, input: Tensor, past: Past | None = None) -> Tensor:
        """Convolve a clip, or with `past` the next slice of one."""
        if self.lead == 0:
            return super().forward(input)
        if past is None and input.shape[2] == 1:
            return self._still(input)
        head = None if past is None else past.frames.get(id(self))
        x = torch.cat((input[:, :, :1].expand(-1, -1, self.lead, -1, -1) if head is None else head, input), dim=2)
        if past is not None:
            past.frames[id(self)] = x[:, :, -self.keep :].clone()  # a view would keep the whole slice in memory
        return super().forward(x)

    def _still(self, picture: Tensor) -> Tensor:
        """A picture repeated in time needs one convolution with the kernel summed over time: a third of the work."""
        weight = self.weight.sum(2, dtype=torch.float32).to(self.weight.dtype)
        return conv2d(picture[:, :, 0], weight, self.bias, self.stride[1:], self.padding[1:])[:, :, None]  # pyright: ignore[reportArgumentType]


class FrameNorm(nn.GroupNorm):
    """Group norm of each frame by itself."""

    def forward(self, input: Tensor) -> Tensor:
        """(1, C, T, H, W) to the same."""
        if input.shape[2] == 1:
            return super().forward(input)
        return super().forward(input[0].transpose(0, 1)).transpose(0, 1)[None]


class Resnet(nn.Module):
    """Two normed convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.norm1 = FrameNorm(groups, inputs, NORM_EPS)
        self.conv1 = CausalConv3d(inputs, outputs, (3, 3, 3))
        self.norm2 = FrameNorm(groups, outputs, NORM_EPS)
        self.conv2 = CausalConv3d(outputs, outputs, (3, 3, 3))
        self.conv_shortcut = CausalConv3d(inputs, outputs, (1, 1, 1)) if inputs != outputs else None

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """Same frames and sides, `outputs` channels."""
        hidden = self.conv1(silu(self.norm1(x)), past)
        hidden = self.conv2(silu(self.norm2(hidden)), past)
        return hidden + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class FrameAttention(nn.Module):
    """Self-attention over the pixels of each frame, with one head."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = FrameNorm(groups, channels, NORM_EPS)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(1, C, T, H, W) to the same."""
        tokens = self.group_norm(x)[0].permute(1, 2, 3, 0).flatten(1, 2)[:, None]  # (T, 1, H·W, C)
        out = scaled_dot_product_attention(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens))
        return x + self.to_out(out)[:, 0].permute(2, 0, 1).view(x.shape)


class Downsample(nn.Module):
    """Halves the sides and, if asked, the frames after the first."""

    def __init__(self, channels: int, *, time: bool) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, (3, 3, 3) if time else (1, 3, 3), stride=(2 if time else 1, 2, 2))

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """Sides are even; frames are 2k+1 if time is halved, or 2k for a later slice."""
        return self.conv(pad(x, (0, 1, 0, 1)), past)


class Upsample(nn.Module):
    """Doubles the sides and, if asked, the frames after the first, by moving channels into pixels."""

    def __init__(self, channels: int, *, time: bool) -> None:
        super().__init__()
        self.time = 2 if time else 1
        self.upscale_conv = nn.Conv3d(channels, channels * 4 * self.time, kernel_size=1)
        self.conv = CausalConv3d(channels, channels, (3, 3, 3))

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """T frames become 2T−1 if time is doubled, or 2T for a later slice."""
        parts = self.upscale_conv(x).unflatten(1, (2, 2, self.time, -1))  # (1, row, column, frame, C, T, H, W)
        x = parts.permute(0, 4, 5, 3, 6, 1, 7, 2).flatten(6, 7).flatten(4, 5).flatten(2, 3)
        if self.time == 2 and (past is None or not past.begun):
            x = torch.cat((x[:, :, :1], x[:, :, 2:]), dim=2)
        return self.conv(x, past)


class Middle(nn.Module):
    """Attention between two resnets, where the clip is smallest."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([FrameAttention(channels, groups)])
        self.resnets = nn.ModuleList([Resnet(channels, channels, groups) for _ in range(2)])

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """Same shape."""
        return self.resnets[1](self.attentions[0](self.resnets[0](x, past)), past)


class DownBlock(nn.Module):
    """Resnets of one scale of the encoder, and the step to the next."""

    def __init__(self, inputs: int, outputs: int, config: VaeConfig, *, down: bool, time: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(outputs if i else inputs, outputs, config.groups) for i in range(config.layers))
        self.downsamplers = nn.ModuleList([Downsample(outputs, time=time)] if down else [])

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """Resnets, then the step down."""
        for layer in (*self.resnets, *self.downsamplers):
            x = layer(x, past)
        return x


class UpBlock(nn.Module):
    """Resnets of one scale of the decoder, and the step to the next."""

    def __init__(self, inputs: int, outputs: int, config: VaeConfig, *, up: bool, time: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(outputs if i else inputs, outputs, config.groups) for i in range(config.layers + 1))
        self.upsamplers = nn.ModuleList([Upsample(outputs, time=time)] if up else [])

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """Resnets, then the step up."""
        for layer in (*self.resnets, *self.upsamplers):
            x = layer(x, past)
        return x
