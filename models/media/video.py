"""Decoding of video streams into shots."""

from collections.abc import Iterator
from fractions import Fraction
from functools import partial

import av
import av.error
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from models.errors import BadMedia
from models.media.colour import ToRgb
from models.media.container import opened, shown_size, start_of, video_of, why
from models.media.limits import Limits
from models.media.shots import Shot
from models.media.turn import Turn, turn_of

_SOON_S = 0.1  # a clip that ends this much before its header says is whole all the same


def video_shots(data: bytes, limits: Limits, field: str) -> Iterator[Shot]:
    """The shots of a clip in order, without gaps; times count from the clip's start, sound included.

    Raises BadMedia when the clip is cut short by more than its final packet, or corrupt; TooLarge as soon as a limit is passed.
    """
    with opened(data, field, limits) as container:
        stream = video_of(container, field)
        width, height = shown_size(stream)
        limits.check_size(width, height, field)
        stream.thread_type = ThreadType.AUTO
        stream.codec_context.options = {"max_pixels": str(limits.max_pixels)}
        to_rgb = ToRgb(width, height)
        turn: Turn | None = None
        before: tuple[float, VideoFrame] | None = None
        usual_s = _usual_step(stream)
        for time_s, frame in _timed(_frames(container, stream, field), start_of(container), usual_s):
            limits.check_seconds(time_s, field)
            turn = turn_of(frame) if turn is None else turn
            if before is not None:
                yield Shot(before[0], time_s, partial(_pixels, before[1], to_rgb, turn))
                usual_s = time_s - before[0]
            before = (time_s, frame)
        if before is None or turn is None:
            raise BadMedia(f"{field} has no frame that can be decoded; send the whole clip again")
        time_s, frame = before
        length_s = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else usual_s
        yield Shot(time_s, time_s + length_s, partial(_pixels, frame, to_rgb, turn))


def _pixels(frame: VideoFrame, to_rgb: ToRgb, turn: Turn) -> NDArray[np.uint8]:
    return turn(to_rgb(frame))


def _usual_step(stream: VideoStream) -> float:
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return float(1 / rate)


def _timed(frames: Iterator[VideoFrame], start_s: float, usual_s: float) -> Iterator[tuple[float, VideoFrame]]:
    """Frames with their times, made to rise: a frame without a time, or not after the one before, comes one usual step later."""
    last_s: float | None = None
    for frame in frames:
        time_s = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base) - start_s
        if last_s is None:
            time_s = max(0.0, time_s or 0.0)
        elif time_s is None or time_s <= last_s:
            time_s = last_s + usual_s
        last_s = time_s
        yield time_s, frame


def _frames(container: InputContainer, stream: VideoStream, field: str) -> Iterator[VideoFrame]:
    """Decoded frames of `stream`; raises BadMedia when packets are missing at the end or cannot be decoded, one last packet excepted."""
    packets, end_s, longest_s = 0, 0.0, 0.0
    broken: av.error.FFmpegError | None = None
    try:
        for packet in container.demux(stream, *container.streams.audio):
            if packet.pts is not None:
                time_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                longest_s, end_s = max(longest_s, time_s - end_s), max(end_s, time_s)
            if packet.stream.index != stream.index or packet.is_corrupt:  # sound, or the half of a packet where the file was cut
                continue
            if broken is not None and packet.size:
                raise broken
            packets += packet.size > 0
            try:
                frames = stream.decode(packet)
            except av.error.InvalidDataError as error:
                broken, frames = error, []
            yield from frames
    except av.error.FFmpegError as error:
        raise BadMedia(f"{field} is corrupt: after {packets} packets of video, {why(error)}; send the whole clip again") from error
    expected = len(stream.index_entries)
    if packets < expected - 1:
        raise BadMedia(f"{field} is cut short: {packets} of its {expected} frames are there; send the whole clip again")
    if not stream.frames and container.duration is not None:  # WebM keeps no index of frames, only its length
        missing_s = container.duration / av.time_base + start_of(container) - end_s
        if missing_s > max(2 * longest_s, _SOON_S):
            raise BadMedia(f"{field} is cut short: its last {missing_s:.1f} seconds are missing; send the whole clip again")
