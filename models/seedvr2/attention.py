"""Attention within windows, where video tokens of a window meet all text tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.nn.functional import scaled_dot_product_attention  # noqa: TID253

from models.seedvr2.config import DitConfig
from models.seedvr2.rope import WindowRope
from models.seedvr2.windows import Layout

Part = TypeVar("Part", bound=nn.Module)


class Streams(nn.Module, Generic[Part]):
    """A layer for each stream: `vid` and `txt` of their own, or one called `all` for both."""

    def __init__(self, build: Callable[[], Part], *, shared: bool, video_only: bool = False) -> None:
        super().__init__()
        names = ("all",) if shared else ("vid",) if video_only else ("vid", "txt")
        for name in names:
            self.add_module(name, build())
        self._video = names[0]
        self._text = None if video_only else names[-1]

    @property
    def video(self) -> Part:
        """The layer of the video tokens."""
        return self._modules[self._video]  # pyright: ignore[reportReturnType]  # built by `build`

    @property
    def text(self) -> Part | None:
        """The layer of the text tokens; None where text passes unchanged."""
        return None if self._text is None else self._modules[self._text]  # pyright: ignore[reportReturnType]

    def forward(self, video: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Apply each stream's layer."""
        return self.video(video), text if self.text is None else self.text(text)


@dataclass(frozen=True, slots=True)
class Windows:
    """A layout on the device: token numbers (windows, tokens) of each batch of equal windows."""

    layout: Layout
    batches: tuple[Tensor, ...]

    @classmethod
    def on(cls, device: torch.device, layout: Layout) -> "Windows":
        """Move the token numbers of `layout` to `device`."""
        return cls(layout, tuple(torch.from_numpy(batch).to(device) for batch in layout.batches()))


class WindowAttention(nn.Module):
    """Self-attention of each window's video tokens together with the text; the text's results are averaged over the windows."""

    def __init__(self, config: DitConfig, *, shared: bool) -> None:
        super().__init__()
        dim, inner = config.dim, config.heads * config.head_dim
        self.heads = config.heads
        self.proj_qkv = Streams(lambda: nn.Linear(dim, 3 * inner, bias=False), shared=shared)
        self.proj_out = Streams(lambda: nn.Linear(inner, dim), shared=shared)
        self.norm_q = Streams(lambda: nn.RMSNorm(config.head_dim, eps=config.norm_eps), shared=shared)
        self.norm_k = Streams(lambda: nn.RMSNorm(config.head_dim, eps=config.norm_eps), shared=shared)
        self.rope = WindowRope(config)

    def forward(self, video: Tensor, text: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
        """Attend. video: (T·H·W, dim) in raster order; text: (L, dim)."""
        video_qkv, text_qkv = (x.unflatten(-1, (3, self.heads, -1)) for x in self.proj_qkv(video, text))
        queries = self.rope(*self.norm_q(video_qkv[:, 0], text_qkv[:, 0]), windows.layout)
        keys = self.rope(*self.norm_k(video_qkv[:, 1], text_qkv[:, 1]), windows.layout)
        values = (video_qkv[:, 2], text_qkv[:, 2])
        video_out = torch.empty_like(values[0])
        text_out = torch.zeros(values[1].shape, dtype=torch.float32, device=video.device)
        for tokens in windows.batches:
            joined = (torch.cat((x[tokens], y.expand(len(tokens), *y.shape)), dim=1) for x, y in (queries, keys, values))
            q, k, v = (x.transpose(1, 2) for x in joined)  # (windows, heads, tokens, channels)
            out = scaled_dot_product_attention(q, k, v).transpose(1, 2)
            video_out[tokens] = out[:, : tokens.shape[1]]
            text_out += out[:, tokens.shape[1] :].sum(0, dtype=torch.float32)
        text_out = (text_out / windows.layout.count).to(text.dtype)
        return self.proj_out(video_out.flatten(1), text_out.flatten(1))
