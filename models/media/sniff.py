"""What a file is, told by its first bytes; names and media types that callers send are not trusted."""

from typing import Literal, TypeAlias

from models.errors import BadMedia

Format: TypeAlias = Literal["mp4", "webp", "png", "jpeg"]

CONTENT_TYPES: dict[Format, str] = {"mp4": "video/mp4", "webp": "image/webp", "png": "image/png", "jpeg": "image/jpeg"}
PICTURES = "PNG, JPEG, WebP, GIF or AVIF"
CLIPS = "MP4, MOV, WebM, animated WebP or GIF"

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_FTYP = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"heim": "image/heic",
    b"hevc": "image/heic",
    b"mif1": "image/heic",
    b"msf1": "image/heic",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"qt  ": "video/quicktime",
}
_OLD_QUICKTIME = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_STRANGERS = {
    b"#EXTM3U": "an HLS playlist, which only points at other files",
    b"ffconcat": "a concat list, which only points at other files",
    b"<?xml": "an XML or SVG document",
    b"<svg": "an SVG drawing",
    b"<": "an HTML or XML document",
    b"{": "a JSON document",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"FLV": "an FLV clip",
    b"OggS": "an Ogg file",
    b"ID3": "an MP3 file",
}


def content_type(format: Format) -> str:
    """Media type of what `encode` and `write_image` write in `format`."""
    return CONTENT_TYPES[format]


def sniff(data: bytes) -> str | None:
    """Media type of a picture, clip or sound by its magic bytes; None when it is none that is known."""
    for magic, media_type in _MAGIC.items():
        if data.startswith(magic):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[:4] == b"\x1aE\xdf\xa3":
        return "video/webm" if b"webm" in data[:64] else "video/x-matroska"
    if data[4:8] == b"ftyp":
        if b"avif" in data[8:40]:
            return "image/avif"
        return _FTYP.get(data[8:12], "video/mp4")
    return "video/quicktime" if data[4:8] in _OLD_QUICKTIME else None


def unknown(data: bytes, field: str, wanted: str) -> BadMedia:
    """The error for bytes that are none of the `wanted` formats, with a guess at what they are."""
    if not data:
        return BadMedia(f"{field} has no bytes; send {wanted}")
    media_type = sniff(data)
    if media_type is not None:
        return BadMedia(f"{field} is {media_type}, which is not accepted here; send {wanted}")
    start = data[:64].lstrip()
    if data[:4] == b"RIFF" and data[8:12] in (b"AVI ", b"WAVE"):
        return BadMedia(f"{field} is {data[8:12].decode().strip()}, which is not accepted; send {wanted}")
    for magic, name in _STRANGERS.items():
        if start.startswith(magic):
            return BadMedia(f"{field} is {name}; send {wanted}")
    return BadMedia(f"{field} is not a picture or clip of a known format; send {wanted}")
