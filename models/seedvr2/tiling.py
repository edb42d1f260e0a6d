"""Runs the autoencoder over overlapping tiles of a clip, so that memory does not grow with the picture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

from models.seedvr2.config import SPATIAL
from models.seedvr2.vae import SeedVR2Autoencoder

OnTile: TypeAlias = Callable[[int, int], None]  # tiles done, of how many


@dataclass(frozen=True, slots=True)
class Tiling:
    """Sides of a tile and of what neighbours share, in pixels; multiples of 8."""

    tile: int = 1024
    overlap: int = 128

    def __post_init__(self) -> None:
        """Refuse tiles that cannot be blended."""
        if self.tile % SPATIAL or self.overlap % SPATIAL or not 0 < self.overlap < self.tile:
            raise ValueError(f"tile and overlap must be multiples of {SPATIAL} with 0 < overlap < tile, got {self.tile} and {self.overlap}")


def encode(vae: SeedVR2Autoencoder, pixels: Tensor, tiling: Tiling, on_tile: OnTile) -> Tensor:
    """`vae.encode` tile by tile."""
    places = _places(pixels.shape[3:], tiling.tile, tiling.overlap)

    def work(top: int, left: int) -> Tensor:
        return vae.encode(pixels[..., top : top + tiling.tile, left : left + tiling.tile])

    return _blend(places, work, lambda place: place // SPATIAL, tiling.overlap // SPATIAL, on_tile)


def decode(vae: SeedVR2Autoencoder, latents: Tensor, tiling: Tiling, on_tile: OnTile) -> Tensor:
    """`vae.decode` tile by tile."""
    side = tiling.tile // SPATIAL
    places = _places(latents.shape[3:], side, tiling.overlap // SPATIAL)

    def work(top: int, left: int) -> Tensor:
        return vae.decode(latents[..., top : top + side, left : left + side])

    return _blend(places, work, lambda place: place * SPATIAL, tiling.overlap, on_tile)


def _places(shape: tuple[int, ...], tile: int, overlap: int) -> list[tuple[int, int]]:
    """Top left corners; the last tile of an axis ends at the border, so that all tiles of a large picture are of one size."""
    rows, columns = ([*range(0, max(side - tile, 0), tile - overlap), max(side - tile, 0)] for side in shape)
    return [(top, left) for top in rows for left in columns]


def _blend(
    places: list[tuple[int, int]], work: Callable[[int, int], Tensor], scaled: Callable[[int], int], overlap: int, on_tile: OnTile
) -> Tensor:
    """Lay the results of `work` over each other, each fading out towards its neighbours. Summed in float32."""
    total = weights = None
    bottom, right = max(places)
    for done, (top, left) in enumerate(places):
        result = work(top, left)
        if len(places) == 1:
            on_tile(1, 1)
            return result
        height, width = result.shape[3:]
        if total is None or weights is None:
            whole = (scaled(bottom) + height, scaled(right) + width)
            total = result.new_zeros((*result.shape[:3], *whole), dtype=torch.float32)
            weights = torch.zeros(whole, device=result.device)
        rows = _fade(height, overlap, top > 0, top < bottom, result.device)
        weight = rows[:, None] * _fade(width, overlap, left > 0, left < right, result.device)
        area = (slice(scaled(top), scaled(top) + height), slice(scaled(left), scaled(left) + width))
        total[(..., *area)] += result.float() * weight
        weights[area] += weight
        on_tile(done + 1, len(places))
    assert total is not None
    assert weights is not None
    return total.div_(weights)


def _fade(length: int, overlap: int, before: bool, after: bool, device: torch.device) -> Tensor:
    """Weight of each line of a tile: 1, falling evenly towards the sides that have a neighbour, and never 0."""
    weight = torch.ones(length, device=device)
    ramp = torch.arange(1, overlap + 1, device=device) / (overlap + 1)
    if before:
        weight[:overlap] = ramp
    if after:
        weight[-overlap:] *= ramp.flip(0)
    return weight
