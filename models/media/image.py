"""Pictures: file bytes to RGB pixels and back."""

import io
import struct
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, GifImagePlugin, ImageCms, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL import Image as Pillow

from models.errors import BadMedia, TooLarge
from models.media.animation import read_animation
from models.media.limits import Limits
from models.media.sniff import PICTURES, sniff, unknown
from models.task import Image

ImageFormat: TypeAlias = Literal["png", "jpeg", "webp"]

# Classes by magic bytes instead of Image.open: no other reader of Pillow ever sees a caller's bytes.
_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "image/png": PngImagePlugin.PngImageFile,
    "image/jpeg": JpegImagePlugin.JpegImageFile,
    "image/webp": WebPImagePlugin.WebPImageFile,
    "image/gif": GifImagePlugin.GifImageFile,
    "image/avif": AvifImagePlugin.AvifImageFile,
}
READABLE = frozenset(_READERS)
BROKEN = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error)  # what Pillow raises for files that are cut or corrupt
_UPRIGHT = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112  # the EXIF tag
_SCAN = b"\xff\xda"
_MOST_SCANS = 100  # progressive pictures have about ten; each is decoded over the whole picture


def read_image(data: bytes, field: str, limits: Limits) -> Image:
    """Pixels of a PNG, JPEG, WebP, GIF or AVIF file, upright, in sRGB, with transparency laid on white; the first frame of an animation.

    Raises BadMedia for anything else, cut or corrupt files, and TooLarge before pixels are decoded.
    """
    picture = open_picture(data, field, limits)
    try:
        picture.load()
        upright = _UPRIGHT.get(orientation(picture))
        return rgb(_in_srgb(picture if upright is None else picture.transpose(upright)))
    except BROKEN as error:
        raise BadMedia(f"{field} is cut short or corrupt and cannot be decoded ({error}); send the whole file again") from error


def open_picture(data: bytes, field: str, limits: Limits) -> ImageFile.ImageFile:
    """A picture whose header was read and found within limits, and whose pixels were not decoded yet."""
    limits.check_bytes(len(data), field)
    media_type = sniff(data)
    if media_type not in _READERS:
        raise unknown(data, field, PICTURES)
    if media_type in ("image/webp", "image/gif"):  # their readers allocate a canvas while they open
        read_animation(data, field, limits, most=1)
    if media_type == "image/jpeg" and data.count(_SCAN) > _MOST_SCANS:
        raise BadMedia(f"{field} is a JPEG of more than {_MOST_SCANS} scans, made to cost time; save it again as an ordinary JPEG")
    try:
        picture = _READERS[media_type](io.BytesIO(data))
    except Pillow.DecompressionBombError as error:
        raise TooLarge(f"{field} has far too many pixels: {error}") from error
    except BROKEN as error:
        raise BadMedia(f"{field} looks like {media_type} but its header cannot be read ({error}); send the whole file again") from error
    limits.check_size(*picture.size, field)
    return picture


def orientation(picture: Pillow.Image) -> int:
    """EXIF orientation, 1..8; 1, upright, when there is none or it cannot be read."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except BROKEN:
        return 1
    return value if isinstance(value, int) else 1


def rgb(picture: Pillow.Image) -> Image:
    """Pixels of a loaded picture of any mode as uint8 RGB, transparency laid on white."""
    if picture.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion would clip it
        picture = Pillow.fromarray((np.asarray(picture).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        alpha = picture.convert("RGBA")
        picture = Pillow.new("RGB", alpha.size, "white")
        picture.paste(alpha, mask=alpha)
    return np.array(picture.convert("RGB"))


def _in_srgb(picture: Pillow.Image) -> Pillow.Image:
    """`picture` with its colour profile (Display P3 of telephones, CMYK of print) turned into sRGB; unchanged if it has none that works."""
    profile = picture.info.get("icc_profile")
    modes = {"RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB", "L": "L"}
    if not profile or picture.mode not in modes or picture.mode == "L":
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return picture
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode=modes[picture.mode])
    except (ImageCms.PyCMSError, *BROKEN):
        return picture
    return picture if converted is None else converted


def write_image(pixels: NDArray[np.uint8], format: ImageFormat = "png", quality: int | None = None) -> bytes:
    """A picture file of RGB `pixels` (H, W, 3) without any metadata.

    quality: 1..100 for jpeg (default 95, from 90 on with full colour resolution) and webp (default 90); png is lossless.
    """
    out = io.BytesIO()
    picture = Pillow.fromarray(np.ascontiguousarray(pixels))
    if format == "png":
        picture.save(out, "PNG", compress_level=4)
    elif format == "jpeg":
        quality = 95 if quality is None else quality
        picture.save(out, "JPEG", quality=quality, subsampling="4:4:4" if quality >= 90 else "4:2:0")
    else:
        picture.save(out, "WEBP", quality=90 if quality is None else quality, method=4)
    return out.getvalue()
