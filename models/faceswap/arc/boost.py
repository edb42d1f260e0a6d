"""Pixel boost: a network for small crops works on a larger one by working on each of its interleaved small copies.

Copy (dy, dx) of a crop takes every k-th pixel beginning there, so each is the whole face at the network's size, a fraction of a pixel
apart; what the network makes of them interleaves to the large crop again. k² runs, and detail the network alone could not carry. The method
is FaceFusion's ("pixel boost"); the code here is our own.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from models.errors import BadRequest

BOOSTS = (1, 2, 4)
Planes = TypeVar("Planes", bound=Any)  # numpy or torch, (N, C, S, S)


def check(boost: int) -> None:
    """Raise BadRequest for a factor that is not 1, 2 or 4."""
    if boost not in BOOSTS:
        raise BadRequest(f"pixel boost must be one of {', '.join(map(str, BOOSTS))} times, got {boost}")


def split(crops: Planes, k: int) -> Planes:
    """Crops (N, C, k S, k S) as their interleaved copies (N k k, C, S, S)."""
    n, channels, height, width = crops.shape
    parts = crops.reshape(n, channels, height // k, k, width // k, k)
    return _turned(parts, (0, 3, 5, 1, 2, 4)).reshape(n * k * k, channels, height // k, width // k)


def join(copies: Planes, k: int) -> Planes:
    """The crops (N, C, k S, k S) of copies (N k k, C, S, S); the inverse of `split`."""
    count, channels, height, width = copies.shape
    parts = copies.reshape(count // (k * k), k, k, channels, height, width)
    return _turned(parts, (0, 3, 4, 1, 5, 2)).reshape(count // (k * k), channels, height * k, width * k)


def _turned(array: Planes, axes: Sequence[int]) -> Planes:
    return array.permute(*axes) if hasattr(array, "permute") else array.transpose(axes)
