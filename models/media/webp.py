"""Animated WebP files, written while frames arrive."""

import io
import os
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from models.runner import Frames

_THREADS = min(8, os.cpu_count() or 1)
_SPEED = 2  # of libwebp's 0..6: under half the time of its default 4 for files a few percent larger
_ANIMATED = 0x02  # flag of the VP8X chunk
_NO_BLENDING = 0x02  # flag of the ANMF chunk: a frame replaces the one before it


def write_webp(frames: Iterator[Frames], *, fps: float | None, quality: int) -> bytes:
    """An endless lossy WebP of `frames`, a still one if there is just one; WebP keeps whole milliseconds.

    fps: every frame is shown for int(1000 / fps) ms; None keeps the frames' times, and the last stays as long as the one before it.
    Each frame is a picture of its own, so that all cores can work on it; differences between frames would make files a tenth smaller.
    """
    stills: list[bytes] = []
    starts_ms: list[int] = []
    size = (0, 0)
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="webp") as threads:
        pending: deque[Future[bytes]] = deque()
        for part in frames:
            size = part.pixels.shape[2], part.pixels.shape[1]
            for pixels, time_s in zip(part.pixels, part.times_s.tolist(), strict=True):
                if len(pending) == 2 * _THREADS:
                    stills.append(pending.popleft().result())
                pending.append(threads.submit(_still, pixels, quality))
                starts_ms.append(round(time_s * 1000) if fps is None else len(starts_ms) * int(1000 / fps))
        stills += [still.result() for still in pending]
    if len(stills) == 1:
        return stills[0]
    durations_ms = [max(1, after - before) for before, after in pairwise(starts_ms)]
    return _animated(size, stills, [*durations_ms, durations_ms[-1]])


def _still(pixels: NDArray[np.uint8], quality: int) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(pixels).save(out, "WEBP", quality=quality, method=_SPEED)
    return out.getvalue()


def _animated(size: tuple[int, int], stills: Sequence[bytes], durations_ms: Sequence[int]) -> bytes:
    """The container of RFC 9649 around the bitstreams of `stills`."""
    sides = _three(size[0] - 1) + _three(size[1] - 1)
    chunks = [_chunk(b"VP8X", bytes([_ANIMATED, 0, 0, 0]) + sides), _chunk(b"ANIM", bytes([255, 255, 255, 255, 0, 0]))]
    for still, duration_ms in zip(stills, durations_ms, strict=True):
        where = _three(0) + _three(0) + sides
        chunks.append(_chunk(b"ANMF", where + _three(min(duration_ms, 0xFFFFFF)) + bytes([_NO_BLENDING]) + still[12:]))
    return _chunk(b"RIFF", b"".join([b"WEBP", *chunks]))


def _three(value: int) -> bytes:
    return value.to_bytes(3, "little")


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
