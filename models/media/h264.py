"""H.264 encoders: the card's where it has one, x264 elsewhere."""

from fractions import Fraction
from functools import cache
from typing import Literal, TypeAlias

import av
import av.error
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

Codec: TypeAlias = Literal["h264_nvenc", "libx264"]
_SMALLEST_FOR_NVENC = 160  # pixels a side; the card's encoder refuses smaller frames


@cache
def video_codec() -> Codec:
    """The H.264 encoder of this machine, found by encoding a frame: not every card has an encoder (A100 and H200 have none)."""
    try:
        encoder = av.CodecContext.create("h264_nvenc", "w")
        encoder.width = encoder.height = 256
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = Fraction(1, 25)
        encoder.encode(VideoFrame(256, 256, "yuv420p"))
        encoder.encode(None)
    except (av.error.FFmpegError, ValueError):
        return "libx264"
    return "h264_nvenc"


def codecs_for(width: int, height: int) -> tuple[Codec, ...]:
    """Encoders to try for frames of this size, in order: a card may have no encoder free for one more clip."""
    return ("h264_nvenc", "libx264") if video_codec() == "h264_nvenc" and min(width, height) >= _SMALLEST_FOR_NVENC else ("libx264",)


def add_h264(
    output: OutputContainer, codec: Codec, width: int, height: int, *, rate: Fraction, time_base: Fraction, crf: int, preset: str
) -> VideoStream:
    """A stream of H.264 High in yuv420p, tagged BT.709 in limited range, with its encoder opened.

    crf: constant quality, 0..51, lower is better; the card's encoder gets the nearest it has. preset: x264's; the card uses its own.
    """
    options = {"crf": str(crf), "preset": preset} if codec == "libx264" else {"rc": "vbr", "cq": str(crf + 1), "preset": "p4", "tune": "hq"}
    stream = output.add_stream(codec, rate, options, width=width, height=height, pix_fmt="yuv420p", time_base=time_base)
    context = stream.codec_context
    context.profile = "High"
    context.color_range = ColorRange.MPEG
    context.colorspace = Colorspace.ITU709
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.BT709
    context.open()
    return stream
