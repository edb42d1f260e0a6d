"""Clips in MP4, MOV, WebM and Matroska: opened with walls around the reader."""

import io
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from models.errors import BadMedia
from models.media.limits import Limits
from models.media.sniff import CLIPS, sniff, unknown

_DEMUXERS = {"video/mp4": "mp4", "video/quicktime": "mov", "video/webm": "webm", "video/x-matroska": "matroska"}
READABLE = frozenset(_DEMUXERS)
_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mjpeg", "prores"})
_HEADROOM = 4  # probing may allocate frames of this many times the limit, so that a clip over it is told its size


def _refuse(*_: Any) -> NoReturn:
    raise PermissionError("a clip may not refer to other files")


@contextmanager
def opened(data: bytes, field: str, limits: Limits) -> Generator[InputContainer]:
    """The clip in `data` with its header read. Raises BadMedia when it is none.

    One demuxer, chosen by magic bytes; nothing else is ever opened (no protocols, playlists, references to other files).
    """
    media_type = sniff(data)
    if media_type not in _DEMUXERS:
        raise unknown(data, field, CLIPS)
    options = {"max_pixels": str(limits.max_pixels * _HEADROOM), "protocol_whitelist": "none"}
    try:
        container = av.open(
            io.BytesIO(data), "r", format=_DEMUXERS[media_type], options=options, metadata_errors="replace", io_open=_refuse
        )
    except (av.error.FFmpegError, PermissionError) as error:
        raise BadMedia(f"{field} looks like {media_type} but cannot be opened ({why(error)}); send the whole file again") from error
    with container:
        yield container


def video_of(container: InputContainer, field: str) -> VideoStream:
    """The video stream to use. Raises BadMedia when there is none, or its codec is not accepted."""
    for stream in container.streams.video:
        if Disposition.attached_pic in stream.disposition:  # cover art
            continue
        name = stream.codec_context.codec.name if _is_known(stream) else "an unknown codec"
        if name not in _CODECS:
            raise BadMedia(f"the video in {field} is coded as {name}, which is not accepted; send H.264, H.265, VP8, VP9 or AV1")
        return stream
    raise BadMedia(f"{field} has no video in it; send a clip with pictures")


def sound_of(container: InputContainer) -> AudioStream | None:
    """The first stream of sound that can be decoded; None when there is none."""
    return next((stream for stream in container.streams.audio if _is_known(stream)), None)


def _is_known(stream: VideoStream | AudioStream) -> bool:
    return stream.codec_context is not None  # pyright: ignore[reportUnnecessaryComparison]  # None for codecs without a decoder


def seconds_of(container: InputContainer, stream: VideoStream) -> float | None:
    """Length of the clip by its header, sound included; None when the header does not say."""
    lengths: list[float] = []
    if container.duration is not None:
        lengths.append(container.duration / av.time_base)
    if stream.duration is not None and stream.time_base is not None:
        lengths.append(float(stream.duration * stream.time_base))
    return max(lengths, default=None)


def start_of(container: InputContainer) -> float:
    """When the clip starts on its own clock, in seconds: what is shown or heard first."""
    return (container.start_time or 0) / av.time_base


def pictures_end(container: InputContainer) -> float:
    """When the last picture ends, in seconds from the clip's start; 0 when the header does not say."""
    end_s = 0.0
    for stream in container.streams.video:
        if stream.duration is not None and stream.time_base is not None:
            end_s = max(end_s, float((stream.duration + (stream.start_time or 0)) * stream.time_base) - start_of(container))
        elif match := re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", stream.metadata.get("DURATION", "")):  # WebM
            hours, minutes, seconds = match.groups()
            end_s = max(end_s, 3600 * int(hours) + 60 * int(minutes) + float(seconds) - start_of(container))
    return end_s


def why(error: Exception) -> str:
    """The reason in an error of the media library, without its call trace."""
    return getattr(error, "strerror", None) or str(error)


def shown_size(stream: VideoStream) -> tuple[int, int]:
    """Width and height of the frames with square pixels, before they are turned."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 0.25 <= aspect <= 4:  # not given (0), or nonsense
        aspect = 1.0
    return round(stream.width * aspect), stream.height
