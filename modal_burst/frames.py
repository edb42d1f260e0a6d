"""Frames of a clip as bytes, without loss: H.264 in RGB, an eighth of the pixels' size at a few milliseconds a frame."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame

from models.errors import NotConfigured
from models.runner import Frames

MAX_PIXELS = 4096 * 2304
MAX_FRAMES = 512


def pack_frames(frames: Frames) -> dict[str, Any]:
    """`frames` as plain data."""
    count, height, width, _ = frames.pixels.shape
    encoder = av.CodecContext.create("libx264rgb", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "rgb24"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"qp": "0", "preset": "ultrafast", "bf": "0"}
    packets = [
        packet for pixels in frames.pixels for packet in encoder.encode(VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24"))
    ]
    packets += encoder.encode(None)
    return {"shape": [count, height, width], "h264": b"".join(bytes(packet) for packet in packets), "times_s": frames.times_s.tolist()}


def unpack_frames(data: Mapping[str, Any]) -> Frames:
    """The frames in `data`, the same to the bit. Raises NotConfigured when there are none of the size that it names."""
    count, height, width = (int(side) for side in data["shape"])
    if not (0 < height * width <= MAX_PIXELS and 0 < count <= MAX_FRAMES and len(data["times_s"]) == count):
        raise NotConfigured(f"a clip of {count} frames of {width}x{height} does not cross the wire")
    decoder = av.CodecContext.create("h264", "r")
    try:
        packets = [*decoder.parse(data["h264"]), *decoder.parse(b""), None]
        pictures = [picture.to_ndarray(format="rgb24") for packet in packets for picture in decoder.decode(packet)]
    except (av.error.FFmpegError, ValueError) as error:
        raise NotConfigured(f"the frames cannot be decoded ({error}); both sides must run the same version") from error
    if len(pictures) != count or pictures[0].shape != (height, width, 3):
        raise NotConfigured(f"{count} frames of {width}x{height} were announced and {len(pictures)} arrived")
    return Frames(np.stack(pictures).astype(np.uint8, copy=False), np.asarray(data["times_s"], np.float64))
