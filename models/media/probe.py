"""What a picture or clip is, by its header and first frame."""

from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Literal, TypeAlias

import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from models.errors import BadMedia
from models.media import container as clips
from models.media.animation import read_animation
from models.media.image import READABLE, open_picture, orientation
from models.media.limits import Limits
from models.media.sniff import CLIPS, sniff, unknown
from models.media.turn import turn_of

Kind: TypeAlias = Literal["video", "animation", "image"]
_PACKETS_TO_TRY = 64  # a healthy clip gives its first frame within a few packets
_INTERVALS_TO_COMPARE = 1000


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """What a header says.

    width, height: of the picture as it is shown, after rotation.
    frames, seconds, fps: None when the header does not say (pictures have one frame, and neither of the others). fps is an average.
    rotation: clockwise degrees by which stored frames are turned to be shown; 0 for pictures.
    variable_rate: the header tells of unequal times between frames.
    """

    kind: Kind
    width: int
    height: int
    frames: int | None
    seconds: float | None
    fps: float | None
    has_audio: bool = False
    rotation: int = 0
    variable_rate: bool = False


def probe(data: bytes, field: str, limits: Limits) -> ClipInfo:
    """Read the header of a picture or clip; of a video also the first frame, to know that it decodes and how it is turned.

    Raises BadMedia for what is no media, has no video, or is coded in a way that is not accepted; TooLarge for what is over `limits`.
    """
    limits.check_bytes(len(data), field)
    media_type = sniff(data)
    if media_type in clips.READABLE:
        return _video(data, field, limits)
    if media_type in READABLE:
        return _picture(data, media_type, field, limits)
    raise unknown(data, field, CLIPS)


def _picture(data: bytes, media_type: str, field: str, limits: Limits) -> ClipInfo:
    if media_type in ("image/webp", "image/gif"):
        animation = read_animation(data, field, limits, most=limits.max_frames + 1)
        frames, seconds = len(animation.durations_ms), animation.seconds
        if frames > 1:
            limits.check_frames(frames, field)
            limits.check_seconds(seconds, field)
            uneven = len(set(animation.durations_ms)) > 1
            return ClipInfo("animation", animation.width, animation.height, frames, seconds, frames / seconds, variable_rate=uneven)
    with open_picture(data, field, limits) as picture:
        width, height = picture.size
        if orientation(picture) >= 5:  # lies on its side
            width, height = height, width
    return ClipInfo("image", width, height, 1, None, None)


def _video(data: bytes, field: str, limits: Limits) -> ClipInfo:
    with clips.opened(data, field, limits) as container:
        stream = clips.video_of(container, field)
        limits.check_size(stream.width, stream.height, field)
        seconds = clips.seconds_of(container, stream)
        limits.check_seconds(seconds or 0.0, field)
        fps = None if stream.average_rate is None else float(stream.average_rate)
        limits.check_frames(stream.frames, field)
        frame = _first_frame(container, stream, field)
        turn = turn_of(frame)
        width, height = clips.shown_size(stream)
        limits.check_size(width, height, field)
        return ClipInfo(
            kind="video",
            width=height if turn.swap else width,
            height=width if turn.swap else height,
            frames=stream.frames or None,
            seconds=seconds,
            fps=fps,
            has_audio=clips.sound_of(container) is not None,
            rotation=turn.degrees,
            variable_rate=_is_uneven(stream),
        )


def _first_frame(container: InputContainer, stream: VideoStream, field: str) -> VideoFrame:
    try:
        for packet in islice(container.demux(stream), _PACKETS_TO_TRY):
            for frame in packet.decode():
                return frame
    except av.error.FFmpegError as error:
        raise BadMedia(f"the video in {field} cannot be decoded ({clips.why(error)}); send the whole clip again") from error
    raise BadMedia(f"{field} has no frame that can be decoded; send the whole clip again")


def _is_uneven(stream: VideoStream) -> bool:
    """By the frame index where there is one (MP4, MOV), else by the rates that the header names."""
    times = [entry.timestamp for entry in stream.index_entries[:_INTERVALS_TO_COMPARE]]
    if len(times) > 2 and stream.frames:
        steps = [after - before for before, after in pairwise(times)]
        return max(steps) - min(steps) > max(1, 0.01 * max(steps))
    average, base = stream.average_rate, stream.base_rate
    return average is not None and base is not None and abs(float(average / base) - 1) > 0.01
