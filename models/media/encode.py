"""Frames to a picture or clip, encoded while they arrive."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from models.errors import BadMedia, BadRequest
from models.media.image import write_image
from models.media.mp4 import write_mp4
from models.media.sniff import Format
from models.media.webp import write_webp
from models.runner import Call, Frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How frames are encoded.

    format: "mp4" (H.264, the one with sound), "webp" (animated, or still for one frame), "png" or "jpeg" (one frame).
    fps: frames are shown at this constant rate, whatever times they come with; None keeps their times.
    quality: 1..100 for webp (90) and jpeg (95). crf: of mp4, 0..51, lower is better. preset: of x264.
    audio: for mp4, the source clip whose sound goes along.
    """

    format: Format
    fps: float | None = None
    quality: int | None = None
    crf: int = 18
    preset: str = "veryfast"
    audio: bytes | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that no encoder takes."""
        if self.fps is not None and not 0.1 <= self.fps <= 1000:
            raise BadRequest(f"fps must be 0.1–1000, got {self.fps}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise BadRequest(f"quality must be 1–100, got {self.quality}")
        if not 0 <= self.crf <= 51:
            raise BadRequest(f"crf must be 0–51, got {self.crf}")


def encode(frames: Iterator[Frames], encoding: Encoding, call: Call | None = None) -> bytes:
    """The file of `frames`. Each chunk is encoded as it comes, before the next is asked for; only the file is kept.

    `call` is checked at each chunk, and learns the seconds spent ("encode") and, for mp4, the encoder ("video_codec").
    Raises BadMedia when there is no frame, or more than one for a format that holds one.
    """
    call = Call() if call is None else call
    watched = _Watched(frames, call)
    started = time.perf_counter()
    try:
        return _write(iter(watched), encoding, call)
    finally:
        call.spent("encode", time.perf_counter() - started - watched.waited_s)


def _write(rest: Iterator[Frames], encoding: Encoding, call: Call) -> bytes:
    first = next(rest, None)
    if first is None:
        raise BadMedia("there are no frames to encode; the source has none")
    frames = chain([first], rest)
    if encoding.format == "mp4":
        media, codec = write_mp4(frames, fps=encoding.fps, crf=encoding.crf, preset=encoding.preset, audio=encoding.audio)
        call.facts["video_codec"] = codec
        return media
    if encoding.format == "webp":
        return write_webp(frames, fps=encoding.fps, quality=90 if encoding.quality is None else encoding.quality)
    if len(first.pixels) > 1 or next(rest, None) is not None:
        raise BadMedia(f"{encoding.format} holds one picture, and the result is a clip; ask for mp4 or webp")
    return write_image(first.pixels[0], encoding.format, encoding.quality)


class _Watched:
    """Frames as they arrive, with the time spent waiting for them, and a check at each chunk whether the call must stop."""

    def __init__(self, frames: Iterator[Frames], call: Call) -> None:
        self.waited_s = 0.0
        self._frames = frames
        self._call = call

    def __iter__(self) -> Iterator[Frames]:
        while True:
            self._call.check()
            asked = time.perf_counter()
            part = next(self._frames, None)
            self.waited_s += time.perf_counter() - asked
            if part is None:
                return
            yield part
