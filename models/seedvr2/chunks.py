"""Cuts a stream of frames into overlapping chunks, and fades the results of neighbouring chunks into each other."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.runner import Frames

Restore: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]  # (T, h, w, 3) to (T, H, W, 3)


def in_chunks(frames: Iterator[Frames], restore: Restore, *, length: int, overlap: int) -> Iterator[Frames]:
    """Run `restore` over chunks of `length` frames, of which `overlap` are shared with the chunk before.

    Frames keep their times. No more than one chunk is held back; a chunk is given out up to what the next will share.
    """
    waiting: Frames | None = None
    shared: NDArray[np.uint8] | None = None  # restored end of the last chunk, not given out yet
    for arrived in frames:
        waiting = arrived if waiting is None else _joined(waiting, arrived)
        while len(waiting.pixels) >= length + 1:  # one more than a chunk, so that the last is known to be the last
            restored = _faded(shared, restore(waiting.pixels[:length]))
            yield Frames(restored[:-overlap], waiting.times_s[: length - overlap])
            shared = restored[-overlap:]
            waiting = Frames(waiting.pixels[length - overlap :], waiting.times_s[length - overlap :])
    if waiting is not None:
        yield Frames(_faded(shared, restore(waiting.pixels)), waiting.times_s)


def _joined(first: Frames, second: Frames) -> Frames:
    return Frames(np.concatenate((first.pixels, second.pixels)), np.concatenate((first.times_s, second.times_s)))


def _faded(before: NDArray[np.uint8] | None, after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fade from the end of one chunk into the begin of the next, which show the same frames."""
    if before is None:
        return after
    share = (np.arange(1, len(before) + 1, dtype=np.float32) / (len(before) + 1))[:, None, None, None]
    mixed = before * (1 - share) + after[: len(before)] * share
    return np.concatenate((np.rint(mixed).astype(np.uint8), after[len(before) :]))
