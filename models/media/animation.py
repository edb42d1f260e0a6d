"""Animated WebP and GIF: their headers walked without decoding a pixel."""

from dataclasses import dataclass

from models.errors import BadMedia
from models.media.limits import Limits

_TOO_FAST_MS = 10  # browsers show a frame of 10 ms or less for 100 ms, so that is what its maker saw
_USUAL_MS = 100


@dataclass(frozen=True, slots=True)
class Animation:
    """Header of a WebP or GIF file: canvas in pixels and how long each frame is shown; one frame for a still picture."""

    width: int
    height: int
    durations_ms: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """Length of one pass."""
        return sum(self.durations_ms) / 1000


def read_animation(data: bytes, field: str, limits: Limits, most: int) -> Animation:
    """Walk the header of WebP or GIF `data`, and no further than `most` frames.

    Raises BadMedia for files that are cut short or broken, TooLarge for a canvas over the limits.
    """
    try:
        animation = _walk_gif(data, most) if data.startswith(b"GIF8") else _walk_webp(data, most)
    except IndexError:
        raise BadMedia(f"{field} is cut short; send the whole file again") from None
    except ValueError as error:
        raise BadMedia(f"{field} is broken ({error}); send the whole file again") from None
    limits.check_size(animation.width, animation.height, field)
    return animation


def _little(data: bytes, start: int, length: int) -> int:
    if start + length > len(data):
        raise IndexError
    return int.from_bytes(data[start : start + length], "little")


def _shown(duration_ms: int) -> int:
    return _USUAL_MS if duration_ms <= _TOO_FAST_MS else duration_ms


def _walk_webp(data: bytes, most: int) -> Animation:
    """RIFF container of WebP, RFC 9649."""
    end = 8 + _little(data, 4, 4)
    if end > len(data) + 1:  # one byte of padding may be missing
        raise IndexError
    kind = data[12:16]
    if kind == b"VP8 ":
        return Animation(_little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF, (_USUAL_MS,))
    if kind == b"VP8L":
        bits = _little(data, 21, 4)
        return Animation((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, (_USUAL_MS,))
    if kind != b"VP8X":
        raise ValueError("no picture in the WebP")
    durations: list[int] = []
    position = 12
    while position + 8 <= end and len(durations) < most:
        if data[position : position + 4] == b"ANMF":
            durations.append(_shown(_little(data, position + 20, 3)))
        length = _little(data, position + 4, 4)
        position += 8 + length + length % 2
    return Animation(_little(data, 24, 3) + 1, _little(data, 27, 3) + 1, tuple(durations) or (_USUAL_MS,))


def _walk_gif(data: bytes, most: int) -> Animation:
    """Blocks of GIF89a."""
    width, height = _little(data, 6, 2), _little(data, 8, 2)
    position = 13 + _palette(data[10])
    durations: list[int] = []
    delay_ms = 0
    while data[position] != 0x3B and len(durations) < most:
        if data[position] == 0x21:
            if data[position + 1] == 0xF9:
                delay_ms = 10 * _little(data, position + 4, 2)
            position = _after_blocks(data, position + 2)
        elif data[position] == 0x2C:
            left, top, wide, high = (_little(data, position + at, 2) for at in (1, 3, 5, 7))
            if left + wide > width or top + high > height:
                raise ValueError("a frame reaches outside the picture")
            position = _after_blocks(data, position + 11 + _palette(data[position + 9]))
            durations.append(_shown(delay_ms))
        else:
            raise ValueError("an unknown block in the GIF")
    if not durations:
        raise ValueError("no picture in the GIF")
    return Animation(width, height, tuple(durations))


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, position: int) -> int:
    while length := data[position]:
        position += length + 1
    return position + 1
