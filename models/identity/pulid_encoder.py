"""PuLID's networks for Flux: the encoder that turns a face into tokens, and the cross-attentions that show them to the transformer.

Guo et al., "PuLID: Pure and Lightning ID Customization via Contrastive Alignment", 2024. Names of parameters are those of the
published `pulid_flux_v0.9.1.safetensors`; widths are read from its tensors.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

HEADS = 16
LEVELS = 5  # layers of the vision tower that the encoder looks at


class Attention(nn.Module):
    """Attention of `queries` (B, Q, D) on `context` (B, C, K), each normalised first; `with_self` lets queries see one another, too."""

    def __init__(self, width: int, context_width: int, inner: int, with_self: bool) -> None:
        super().__init__()
        self.with_self = with_self
        self.norm1 = nn.LayerNorm(context_width)
        self.norm2 = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(context_width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, context: Tensor, queries: Tensor) -> Tensor:
        """What `queries` learn, (B, Q, D)."""
        context, queries = self.norm1(context), self.norm2(queries)
        seen = torch.cat([context, queries], dim=1) if self.with_self else context
        q, (k, v) = self.to_q(queries), self.to_kv(seen).chunk(2, dim=-1)
        q, k, v = (rows.unflatten(-1, (HEADS, -1)).transpose(1, 2) for rows in (q, k, v))  # (B, heads, N, D/heads)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(out.transpose(1, 2).flatten(2))


def _feed_forward(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner, bias=False), nn.GELU(), nn.Linear(inner, width, bias=False))


def _mapping(first: int, hidden: int, last: int) -> nn.Sequential:
    def block(width: int) -> tuple[nn.Module, ...]:
        return nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.LeakyReLU()

    return nn.Sequential(*block(first), *block(hidden), nn.Linear(hidden, last))


class IdentityEncoder(nn.Module):
    """A face's embedding and vision features to identity tokens; two attention layers for each level of features."""

    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__()
        _, self.tokens, self.width = shapes["latents"]
        self.latents = nn.Parameter(torch.empty(shapes["latents"]))
        self.proj_out = nn.Parameter(torch.empty(shapes["proj_out"]))
        self.id_embedding_mapping = _mapping_of(shapes, "id_embedding_mapping")
        for level in range(LEVELS):
            self.add_module(f"mapping_{level}", _mapping_of(shapes, f"mapping_{level}"))
        depth = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("layers."))
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    Attention(self.width, self.width, shapes[f"layers.{n}.0.to_q.weight"][0], with_self=True),
                    _feed_forward(self.width, shapes[f"layers.{n}.1.1.weight"][0]),
                ]
            )
            for n in range(depth)
        )

    def forward(self, identity: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Tokens (B, 32, 2048) from `identity` (B, 1280), ArcFace and vision class vector, and `features`, LEVELS of (B, P, 1024)."""
        own = self.id_embedding_mapping(identity).unflatten(-1, (-1, self.width))  # (B, 5, D)
        latents = torch.cat([self.latents.expand(len(identity), -1, -1), own], dim=1)
        each = len(self.layers) // LEVELS
        for level, seen in enumerate(features):
            context = torch.cat([own, self.get_submodule(f"mapping_{level}")(seen)], dim=1)
            for layer in self.layers[level * each : (level + 1) * each]:
                attention, feed_forward = layer.children()
                latents = attention(context, latents) + latents
                latents = feed_forward(latents) + latents
        return latents[:, : self.tokens] @ self.proj_out


def _mapping_of(shapes: Mapping[str, torch.Size], name: str) -> nn.Sequential:
    hidden, first = shapes[f"{name}.0.weight"]
    return _mapping(first, hidden, shapes[f"{name}.6.weight"][0])


def cross_attentions(shapes: Mapping[str, torch.Size]) -> nn.ModuleList:
    """The cross-attentions in the order in which the transformer meets them."""
    count = 1 + max(int(name.split(".")[0]) for name in shapes)
    return nn.ModuleList(
        Attention(
            width=shapes[f"{n}.norm2.weight"][0],
            context_width=shapes[f"{n}.norm1.weight"][0],
            inner=shapes[f"{n}.to_q.weight"][0],
            with_self=False,
        )
        for n in range(count)
    )


def load(weights: Mapping[str, Tensor], device: str, dtype: torch.dtype) -> tuple[IdentityEncoder, nn.ModuleList]:
    """Both networks from the published file's tensors; every tensor must fit."""
    parts: list[Any] = []
    for prefix, build in (("pulid_encoder.", IdentityEncoder), ("pulid_ca.", cross_attentions)):
        state = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
        with torch.device("meta"):
            network = build({name: tensor.shape for name, tensor in state.items()})
        network.load_state_dict(state, strict=True, assign=True)
        parts.append(network.to(device, dtype).eval().requires_grad_(False))
    return parts[0], parts[1]
