"""Pictures and clips to frames, a few at a time."""

import io
import math
from collections.abc import Iterator

from PIL import GifImagePlugin, WebPImagePlugin

from models.errors import BadMedia, BadRequest
from models.media import container
from models.media.animation import Animation, read_animation
from models.media.image import BROKEN, READABLE, read_image, rgb
from models.media.limits import DEFAULT_LIMITS, Limits
from models.media.shots import Shot, at_rate, on_grid, own_times, stack
from models.media.sniff import CLIPS, sniff, unknown
from models.media.video import video_shots
from models.runner import Frames

_FIELD = "the clip"


def decode(data: bytes, fps: float | None = None, limits: Limits = DEFAULT_LIMITS, chunk: int = 8) -> Iterator[Frames]:
    """Frames of a picture or clip, up to `chunk` at a time, upright, in RGB; times count from the start of the clip.

    fps: a video is resampled onto a grid of this rate, each instant showing the frame that was on screen then; an animation (WebP, GIF)
        keeps every frame and plays at this rate. None keeps the file's own times, also when they vary.
    Raises BadMedia when the file is cut short or corrupt, which may show after some frames; TooLarge as soon as a limit is passed.
    """
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise BadRequest(f"fps must be above 0, got {fps}")
    limits.check_bytes(len(data), _FIELD)
    shots = _shots(data, limits)
    if fps is None:
        return stack(own_times(shots), limits, chunk, _FIELD)
    laid = on_grid if sniff(data) in container.READABLE else at_rate
    return stack(laid(shots, fps), limits, chunk, _FIELD)


def _shots(data: bytes, limits: Limits) -> Iterator[Shot]:
    media_type = sniff(data)
    if media_type in container.READABLE:
        return video_shots(data, limits, _FIELD)
    if media_type in ("image/webp", "image/gif"):
        animation = read_animation(data, _FIELD, limits, most=limits.max_frames + 1)
        if len(animation.durations_ms) > 1:
            return _animation_shots(data, animation, limits)
    elif media_type not in READABLE:
        raise unknown(data, _FIELD, CLIPS)
    pixels = read_image(data, _FIELD, limits)
    return iter([Shot(0.0, 0.0, lambda: pixels)])


def _animation_shots(data: bytes, animation: Animation, limits: Limits) -> Iterator[Shot]:
    """Frames of a WebP or GIF; the reader keeps the file, the current frame and its canvas, no more."""
    limits.check_frames(len(animation.durations_ms), _FIELD)
    limits.check_seconds(animation.seconds, _FIELD)
    reader = GifImagePlugin.GifImageFile if data.startswith(b"GIF8") else WebPImagePlugin.WebPImageFile
    start_ms = 0
    try:
        with reader(io.BytesIO(data)) as picture:
            for index, duration_ms in enumerate(animation.durations_ms):
                picture.seek(index)
                picture.load()
                pixels = rgb(picture)
                yield Shot(start_ms / 1000, (start_ms + duration_ms) / 1000, lambda pixels=pixels: pixels)
                start_ms += duration_ms
    except BROKEN as error:
        raise BadMedia(f"{_FIELD} is cut short or corrupt and cannot be decoded ({error}); send the whole file again") from error
