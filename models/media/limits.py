"""How large media may be, and the sentences for media that are larger."""

from dataclasses import dataclass

from models.errors import TooLarge


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one picture or clip may be.

    max_bytes: of the encoded file. max_pixels: width times height of a picture or frame.
    max_frames, max_seconds: of a clip; the frames count before and after a change of rate.
    """

    max_bytes: int = 200_000_000
    max_pixels: int = 25_000_000
    max_frames: int = 3_600
    max_seconds: float = 120.0

    def check_bytes(self, count: int, field: str) -> None:
        """Raise TooLarge if `count` bytes are too many."""
        if count > self.max_bytes:
            raise TooLarge(f"{field} is {_megabytes(count)}; at most {_megabytes(self.max_bytes)} are accepted, so send a smaller file")

    def check_size(self, width: int, height: int, field: str) -> None:
        """Raise TooLarge if a frame of `width` x `height` has too many pixels."""
        if width * height > self.max_pixels:
            raise TooLarge(
                f"{field} is {width}x{height}, {width * height / 1e6:.1f} megapixels; "
                f"at most {self.max_pixels / 1e6:g} are accepted, so scale it down first"
            )

    def check_frames(self, count: int, field: str) -> None:
        """Raise TooLarge if `count` frames are too many."""
        if count > self.max_frames:
            raise TooLarge(
                f"{field} has {count} frames or more; at most {self.max_frames} are accepted, so send a shorter clip or a lower fps"
            )

    def check_seconds(self, seconds: float, field: str) -> None:
        """Raise TooLarge if a clip of `seconds` is too long."""
        if seconds > self.max_seconds:
            raise TooLarge(
                f"{field} is {seconds:.1f} seconds long; at most {self.max_seconds:g} are accepted, so cut it into shorter clips"
            )


DEFAULT_LIMITS = Limits()


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count} bytes"
