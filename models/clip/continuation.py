"""Clips longer than a model makes at once: in segments, each of which begins with the last frames of the one before."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]  # (T, H, W, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """One run of the model. tail: the frames it begins with; None for the first. frames: of the run, `tail` included."""

    index: int
    count: int
    frames: int
    tail: Pixels | None


Make: TypeAlias = Callable[[Segment], Iterator[Pixels]]


def lengths(total: int, *, longest: int, overlap: int) -> list[int]:
    """Frames of each run for a clip of `total`; all of them 4k+1, and about equally long, so that none is too short to move."""
    if total <= longest:
        return [total]
    count = -(-(total - overlap) // (longest - overlap))
    added = (total - overlap) // 4  # in latent frames; the overlap counts once, for the first
    shares = [added // count + (index < added % count) for index in range(count)]
    return [4 * share + overlap for share in shares]


def in_segments(make: Make, total: int, *, longest: int, overlap: int) -> Iterator[Pixels]:
    """Frames of a clip of `total` (4k+1) as they are made. Only the last `overlap` (4k+1) frames of a segment are held back.

    The frames that two segments share are faded from the one into the other, so nothing jumps where the model did not keep them exactly.
    """
    runs = lengths(total, longest=longest, overlap=overlap)
    tail: Pixels | None = None
    for index, frames in enumerate(runs):
        made = make(Segment(index, len(runs), frames, tail))
        faded = made if tail is None else _faded(tail, made)
        if index == len(runs) - 1:
            yield from faded
            return
        held: list[Pixels] = []
        yield from _all_but_last(faded, overlap, held)
        tail = np.concatenate(held)


def _all_but_last(parts: Iterator[Pixels], count: int, held: list[Pixels]) -> Iterator[Pixels]:
    """Pass frames on as soon as `count` more have come; the last `count` are left in `held`."""
    for part in parts:
        held.append(part)
        spare = sum(map(len, held)) - count
        if spare > 0:
            joined = np.concatenate(held)
            yield joined[:spare]
            held[:] = [joined[spare:]]


def _faded(tail: Pixels, parts: Iterator[Pixels]) -> Iterator[Pixels]:
    """The frames of `parts`, which begin where `tail` does, faded in over its length."""
    done = 0
    for part in parts:
        shared = tail[done : done + len(part)]
        share = (np.arange(done, done + len(shared), dtype=np.float32) + 1)[:, None, None, None] / (len(tail) + 1)
        mixed = np.rint(shared * (1 - share) + part[: len(shared)] * share).astype(np.uint8)
        done += len(part)
        yield np.concatenate((mixed, part[len(shared) :]))
