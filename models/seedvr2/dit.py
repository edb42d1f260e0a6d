"""The diffusion transformer of SeedVR2 (NaDiT), in the layouts of the 3B and 7B checkpoints, for one clip at a time."""

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn.functional import rms_norm, silu  # noqa: TID253

from models.seedvr2.attention import Streams, WindowAttention, Windows
from models.seedvr2.config import LATENT_CHANNELS, PATCH, DitConfig
from models.seedvr2.windows import layout

OnBlock: TypeAlias = Callable[[int, int], None]  # blocks done, of how many
Half: TypeAlias = Literal["attn", "mlp"]

TIME_CHANNELS = 256
INPUT_CHANNELS = 2 * LATENT_CHANNELS + 1  # noise, the picture to restore, and a mask of ones


class GeluMlp(nn.Module):
    """Feed-forward of the 7B variant."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj_in = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU("tanh")
        self.proj_out = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(tokens, dim) to the same."""
        return self.proj_out(self.act(self.proj_in(x)))


class SwigluMlp(nn.Module):
    """Feed-forward of the 3B variant; its width is 8/3 of dim, rounded up to a multiple of 256."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = 256 * math.ceil(int(8 * dim / 3) / 256)
        self.proj_in_gate = nn.Linear(dim, hidden, bias=False)
        self.proj_out = nn.Linear(hidden, dim, bias=False)
        self.proj_in = nn.Linear(dim, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(tokens, dim) to the same."""
        return self.proj_out(silu(self.proj_in_gate(x)) * self.proj_in(x))


class Modulation(nn.Module):
    """A block's own offsets to the shift, scale and gate that all blocks take from the time embedding (AdaLN-single)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        for half in ("attn", "mlp"):
            for name, centre in (("shift", 0.0), ("scale", 1.0), ("gate", 0.0)):
                self.register_parameter(f"{half}_{name}", nn.Parameter(torch.randn(dim) / dim**0.5 + centre))

    def enter(self, x: Tensor, time: Tensor, half: Half) -> Tensor:
        """Shift and scale before attention or feed-forward; time: (dim, 2, 3)."""
        shift, scale, _ = time[:, ("attn", "mlp").index(half)].unbind(-1)
        return x * (scale + self.get_parameter(f"{half}_scale")) + (shift + self.get_parameter(f"{half}_shift"))

    def leave(self, x: Tensor, time: Tensor, half: Half) -> Tensor:
        """Gate what comes out."""
        return x * (time[:, ("attn", "mlp").index(half), 2] + self.get_parameter(f"{half}_gate"))


class OutputModulation(nn.Module):
    """Shift and scale before the output projection, on top of what the time embedding gives to attention."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out_shift = nn.Parameter(torch.randn(dim) / dim**0.5)
        self.out_scale = nn.Parameter(torch.randn(dim) / dim**0.5 + 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x: (tokens, dim); time: (dim, 2, 3)."""
        shift, scale, _ = time[:, 0].unbind(-1)
        return x * (scale + self.out_scale) + (shift + self.out_shift)


class Block(nn.Module):
    """Window attention and feed-forward over both streams, each modulated by the time embedding."""

    def __init__(self, config: DitConfig, *, shared: bool, video_only: bool) -> None:
        super().__init__()
        self.norm_eps = config.norm_eps
        self.attn = WindowAttention(config, shared=shared)
        mlp = SwigluMlp if config.mlp == "swiglu" else GeluMlp
        self.mlp = Streams[nn.Module](lambda: mlp(config.dim), shared=shared, video_only=video_only)
        self.ada = Streams(lambda: Modulation(config.dim), shared=shared, video_only=video_only)

    def forward(self, video: Tensor, text: Tensor, time: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
        """video: (T·H·W, dim); text: (L, dim); time: (dim, 2, 3)."""
        streams = self.attn(*self._enter(video, text, time, "attn"), windows)
        video, text = self._leave((video, text), streams, time, "attn")
        streams = self.mlp(*self._enter(video, text, time, "mlp"))
        return self._leave((video, text), streams, time, "mlp")

    def _enter(self, video: Tensor, text: Tensor, time: Tensor, half: Half) -> tuple[Tensor, Tensor]:
        video, text = (rms_norm(x, x.shape[-1:], eps=self.norm_eps) for x in (video, text))
        return self.ada.video.enter(video, time, half), text if self.ada.text is None else self.ada.text.enter(text, time, half)

    def _leave(self, before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor], time: Tensor, half: Half) -> tuple[Tensor, Tensor]:
        text = after[1] if self.ada.text is None else self.ada.text.leave(after[1], time, half)
        return before[0] + self.ada.video.leave(after[0], time, half), before[1] + text


class TimeEmbedding(nn.Module):
    """Sinusoid of the timestep through three layers."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj_in = nn.Linear(TIME_CHANNELS, dim)
        self.proj_hid = nn.Linear(dim, dim)
        self.proj_out = nn.Linear(dim, 6 * dim)

    def forward(self, timestep: float) -> Tensor:
        """Embedding (dim, 2, 3): for attention and feed-forward, shift, scale and gate."""
        weight = self.proj_in.weight
        half = TIME_CHANNELS // 2
        angles = timestep * 10000.0 ** -(torch.arange(half, device=weight.device, dtype=torch.float32) / half)
        wave = torch.cat((angles.sin(), angles.cos())).to(weight.dtype)
        return self.proj_out(silu(self.proj_hid(silu(self.proj_in(wave))))).view(-1, 2, 3)


class _Projection(nn.Module):
    """A linear layer under the name the checkpoint has it (`vid_in.proj`, `vid_out.proj`)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) to (…, outputs)."""
        return self.proj(x)


class SeedVR2Transformer(nn.Module):
    """Predicts the velocity of a clip's latents; every second block has shifted windows."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        dim, last = config.dim, config.layers - 1
        self.norm_eps = config.norm_eps
        self.vid_in = _Projection(INPUT_CHANNELS * PATCH**2, dim)
        self.txt_in = nn.Linear(config.text_dim, dim)
        self.emb_in = TimeEmbedding(dim)
        self.blocks = nn.ModuleList(
            Block(config, shared=i >= config.separate_layers, video_only=config.refined_output and i == last) for i in range(config.layers)
        )
        if config.refined_output:
            self.vid_out_norm = nn.RMSNorm(dim, eps=config.norm_eps)
            self.vid_out_ada = OutputModulation(dim)
        self.refined_output = config.refined_output
        self.vid_out = _Projection(dim, LATENT_CHANNELS * PATCH**2)

    def forward(self, latents: Tensor, prompt: Tensor, timestep: float, on_block: OnBlock | None = None) -> Tensor:
        """Velocity (T, H, W, 16) of latents (T, H, W, 33) under a prompt (L, text_dim); H and W are even.

        on_block may raise to stop the run; nothing is left behind.
        """
        tokens = latents.unflatten(2, (-1, PATCH)).unflatten(1, (-1, PATCH)).transpose(2, 3).flatten(3)  # (T, H/2, W/2, 4·33)
        time, height, width = tokens.shape[:3]
        shape = (time, height, width)
        windows = [Windows.on(latents.device, layout(shape, shifted=shifted)) for shifted in (False, True)]
        video, text, emb = self.vid_in(tokens).flatten(0, 2), self.txt_in(prompt), self.emb_in(timestep)
        for index, block in enumerate(self.blocks):
            video, text = block(video, text, emb, windows[index % 2])
            if on_block is not None:
                on_block(index + 1, len(self.blocks))
        if self.refined_output:
            video = self.vid_out_ada(self.vid_out_norm(video), emb)
        patches = self.vid_out(video).view(*shape, PATCH, PATCH, LATENT_CHANNELS)
        return patches.transpose(2, 3).flatten(3, 4).flatten(1, 2)
