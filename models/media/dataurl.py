"""Media that arrive as text: a data URL or bare base64."""

import base64
import binascii
import re

from models.errors import BadMedia
from models.media.limits import Limits

_WHITESPACE = " \t\r\n\f\v"
_STRIP = str.maketrans("", "", _WHITESPACE)
_DATA_URL = re.compile(r"data:[^,]{0,200}?(;base64)?,", re.IGNORECASE)
_LINK = re.compile(r"[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)


def data_url(text: str, field: str, limits: Limits) -> bytes:
    """The bytes in a data URL or in bare base64; whitespace is tolerated, the media type is not trusted.

    Raises BadMedia for links, empty or malformed text, and TooLarge before anything is decoded.
    """
    payload = _payload(text, field)
    length = len(payload)
    blanks = sum(payload.count(blank) for blank in _WHITESPACE)
    padding = payload[-4:].count("=")
    limits.check_bytes((length - blanks) // 4 * 3 - padding, field)
    if blanks:
        payload = payload.translate(_STRIP)
    if not payload:
        raise BadMedia(f"{field} is empty; send the file's bytes as a data URL or base64")
    try:
        return binascii.a2b_base64(payload, strict_mode=True)
    except ValueError as error:
        raise BadMedia(f"{field} is not valid base64 ({error}); send a data URL or base64 text with its padding") from None


def as_data_url(data: bytes, media_type: str) -> str:
    """`data` as a data URL."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _payload(text: str, field: str) -> str:
    start = text[:300].lstrip()
    if _LINK.match(start):
        raise BadMedia(f"{field} is a link, and links are not fetched; send the file itself as a data URL or base64")
    if start[:5].lower() != "data:":
        return text
    head = _DATA_URL.match(start)
    if head is None:
        raise BadMedia(f"{field} is a malformed data URL; it must look like data:image/png;base64,iVBORw0…")
    if head.group(1) is None:
        raise BadMedia(f"{field} is a data URL without ';base64'; encode the file as base64")
    return text[text.index(",") + 1 :]
