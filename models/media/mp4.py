"""MP4 files: H.264 that every browser and telephone plays, index first, written while frames arrive."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from models.media.colour import ToYuv
from models.media.h264 import Codec, add_h264, codecs_for
from models.media.sound import Sound
from models.runner import Frames

TICKS = 120_000  # a second, on the clock of frame times that may vary; the usual rates (16, 24, 25, 30, 30000/1001…) are exact on it
_USUAL_FPS = 25.0  # of a clip of one frame


def write_mp4(frames: Iterator[Frames], *, fps: float | None, crf: int, preset: str, audio: bytes | None) -> tuple[bytes, Codec]:
    """An MP4 of `frames` and the encoder that made it; frames are encoded as they arrive, and only the file grows.

    fps: frames are shown at this constant rate, whatever their times; None keeps their times. crf, preset: of `add_h264`.
    audio: a source clip, whose sound goes along. An odd side grows by one pixel, a copy of its neighbour: yuv420p has even sides.
    """
    first = next(frames)
    height, width = first.pixels.shape[1:3]
    rate = Fraction(_usual_fps(first) if fps is None else fps).limit_denominator(1001)
    with ExitStack() as resources:
        file = resources.enter_context(io.BytesIO())  # closed first on errors, which keeps PyAV from finishing a file that nobody wants
        time_base = Fraction(1, TICKS) if fps is None else 1 / rate
        output, stream, codec = _begin(file, width + width % 2, height + height % 2, rate, time_base, crf, preset)
        pictures = _Pictures(output, stream, rate, time_base)
        sound = None if audio is None else Sound(audio, output, resources)
        for part in chain([first], frames):
            for pixels, time_s in zip(part.pixels, part.times_s, strict=True):
                shown_s = pictures.add(pixels, None if fps is not None else float(time_s))
                if sound is not None:
                    sound.mux_until(shown_s)
        end_s = pictures.finish()
        if sound is not None:
            sound.finish(end_s)
        output.close()
        return file.getvalue(), codec


def _usual_fps(frames: Frames) -> float:
    """About the rate, by the first frames; only a hint for the encoder."""
    steps = np.diff(frames.times_s)
    return 1 / float(np.clip(np.median(steps), 0.001, 1)) if len(steps) else _USUAL_FPS


def _begin(
    file: io.BytesIO, width: int, height: int, rate: Fraction, time_base: Fraction, crf: int, preset: str
) -> tuple[OutputContainer, VideoStream, Codec]:
    """Start the file with an encoder that opens. Moving the index to the front reads the file while it is written: that is `io_open`."""
    *others, last = codecs_for(width, height)
    for codec in (*others, last):
        output = av.open(file, "w", format="mp4", options={"movflags": "+faststart"}, io_open=lambda *_: _SecondReader(file))
        try:
            stream = add_h264(output, codec, width, height, rate=rate, time_base=time_base, crf=crf, preset=preset)
        except av.error.FFmpegError:
            if codec == last:
                raise
            continue
        return output, stream, codec
    raise AssertionError("there is always x264")


class _Pictures:
    """The video track: frames to packets, with the clock that says when each is shown."""

    def __init__(self, output: OutputContainer, stream: VideoStream, rate: Fraction, time_base: Fraction) -> None:
        self._output = output
        self._stream = stream
        self._time_base = time_base
        self._step = max(1, round(1 / (rate * time_base)))  # ticks that the latest frame stays, as far as is known
        self._first: int | None = None
        self._last = -self._step
        self._to_yuv = ToYuv()
        self._held: Packet[VideoStream] | None = None
        self._first_dts = 0

    def add(self, pixels: NDArray[np.uint8], time_s: float | None) -> float:
        """Encode one frame, shown at `time_s` or, when None, one step after the last. Returns when it is shown."""
        ticks = self._last + self._step if time_s is None else max(self._last + 1, round(time_s / self._time_base))
        if self._first is None:
            self._first = ticks
        else:
            self._step = ticks - self._last
        self._last = ticks
        frame = self._to_yuv(pixels)
        frame.pts, frame.time_base = ticks, self._time_base
        self._mux(self._stream.encode(frame))
        return float(ticks * self._time_base)

    def finish(self) -> float:
        """Encode what is left. Returns when the last frame ends: it stays as long as the one before it."""
        self._mux(self._stream.encode(None))
        end = self._last + self._step
        if self._held is not None and self._held.dts is not None:
            # The track's length is counted in decoding order, so the packet decoded last fills what is missing.
            self._held.duration = end - (self._first or 0) - (self._held.dts - self._first_dts)
            self._output.mux_one(self._held)
        return float(end * self._time_base)

    def _mux(self, packets: "list[Packet[VideoStream]]") -> None:
        for packet in packets:
            if self._held is None:
                self._first_dts = packet.dts or 0
            else:
                self._output.mux_one(self._held)
            self._held = packet


class _SecondReader(io.RawIOBase):
    """Reads a file that is still being written, at a position of its own."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._file.getbuffer() as view:
            self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(view)}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        with self._file.getbuffer() as view:
            part = bytes(view[self._position : None if size < 0 else self._position + size])
        self._position += len(part)
        return part
