"""Media fields of a request, decoded under the limits that hold for all callers."""

import numpy as np
from numpy.typing import NDArray

from models.errors import BadMedia
from models.media import ClipInfo, Limits, data_url, probe, read_image
from models.task import Image

PICTURE_LIMITS = Limits(max_bytes=30_000_000, max_pixels=25_000_000, max_frames=1, max_seconds=1.0)
CLIP_LIMITS = Limits(max_bytes=200_000_000, max_pixels=4096 * 2304, max_frames=60 * 60, max_seconds=120.0)


def picture(text: str, field: str) -> Image:
    """The picture in a data URL or base64 text. Raises BadMedia or TooLarge naming `field`."""
    return read_image(data_url(text, field, PICTURE_LIMITS), field, PICTURE_LIMITS)


def clip(text: str, field: str) -> tuple[bytes, ClipInfo]:
    """The bytes of a clip and what its header says; frames are decoded later, next to the model."""
    data = data_url(text, field, CLIP_LIMITS)
    return data, probe(data, field, CLIP_LIMITS)


def still(text: str, field: str) -> bytes:
    """The bytes of a picture that is decoded later; its header is checked now."""
    data = data_url(text, field, PICTURE_LIMITS)
    if probe(data, field, CLIP_LIMITS).kind != "image":
        raise BadMedia(f"{field} is a clip; this endpoint takes a picture (PNG, JPEG or WebP), clips have an endpoint of their own")
    probe(data, field, PICTURE_LIMITS)
    return data


def mask(text: str, field: str) -> NDArray[np.uint8]:
    """The picture in a data URL or base64 text as brightness, uint8 (H, W). Raises BadMedia or TooLarge naming `field`."""
    return picture(text, field).mean(axis=2).round().astype(np.uint8)
