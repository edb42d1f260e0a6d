"""Shots: pictures on screen for a while, laid onto a clip's time line and stacked into frames."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.media.limits import Limits
from models.runner import Frames

_MOST_BYTES = 64 << 20  # of one stack, so that large frames come in shorter ones
_ROUNDING_S = 0.001  # WebM keeps whole milliseconds, so a frame may come this late for its place on a grid


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One decoded picture: on screen from `start_s` to `end_s`. `pixels` makes its RGB (H, W, 3), and costs time."""

    start_s: float
    end_s: float
    pixels: Callable[[], NDArray[np.uint8]]


Moment: TypeAlias = tuple[float, Shot]  # when a frame is shown, and what it shows


def own_times(shots: Iterable[Shot]) -> Iterator[Moment]:
    """Each shot once, at its own time."""
    return ((shot.start_s, shot) for shot in shots)


def at_rate(shots: Iterable[Shot], fps: float) -> Iterator[Moment]:
    """Each shot once, `fps` of them a second."""
    return ((index / fps, shot) for index, shot in enumerate(shots))


def on_grid(shots: Iterable[Shot], fps: float) -> Iterator[Moment]:
    """`fps` frames a second, each showing the shot that was on screen then: shots are left out or repeated."""
    index = 0
    shot: Shot | None = None
    for shot in shots:
        while index / fps < shot.end_s - _ROUNDING_S:
            yield index / fps, shot
            index += 1
    if index == 0 and shot is not None:  # too short to reach the first instant's end
        yield 0.0, shot


def stack(moments: Iterable[Moment], limits: Limits, chunk: int, field: str) -> Iterator[Frames]:
    """Frames of `moments`, up to `chunk` at a time, fewer of large ones. Raises TooLarge once there are too many."""
    pixels: NDArray[np.uint8] | None = None
    times: list[float] = []
    count = 0
    last: Shot | None = None
    for time_s, shot in moments:
        limits.check_frames(count := count + 1, field)
        picture = shot.pixels() if shot is not last or pixels is None else pixels[len(times) - 1]
        if pixels is None:
            length = max(1, min(chunk, _MOST_BYTES // picture.nbytes))
            pixels = np.empty((length, *picture.shape), np.uint8)
        pixels[len(times)] = picture
        last = shot
        times.append(time_s)
        if len(times) == len(pixels):
            yield Frames(pixels, np.array(times))
            pixels, times = None, []
    if pixels is not None:
        yield Frames(pixels[: len(times)], np.array(times))
