"""RGB pixels to the YUV of video and back, by the colour matrix and range that the video says it has."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from models.errors import BadMedia
from models.media.hdr import is_hdr, to_sdr

# Without these flags swscale truncates, which darkens every pixel by one step at each pass.
_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED


class ToRgb:
    """Decoded frames to RGB pixels of one size, `width` x `height`."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Pixels (H, W, 3) of `frame`, scaled if its size differs; a view into a buffer of its own."""
        try:
            picture = self._reformatter.reformat(
                frame,
                self.width,
                self.height,
                "rgb24",
                src_colorspace=_usual_matrix(frame) if frame.colorspace == _UNSPECIFIED else None,
                interpolation=Interpolation.BILINEAR | _EXACT,
            )
        except (OSError, ValueError) as error:
            raise BadMedia(f"a frame in pixel format {frame.format.name} cannot be converted to RGB; send H.264 in yuv420p") from error
        plane = picture.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        pixels = rows[: self.height, : self.width * 3].reshape(self.height, self.width, 3)
        return to_sdr(pixels, frame.color_trc) if is_hdr(frame.color_trc) else pixels


def _usual_matrix(frame: VideoFrame) -> Colorspace:
    """What players take for frames that do not say: BT.709 for high definition, BT.601 below."""
    return Colorspace.ITU709 if frame.width >= 1280 or frame.height > 576 else Colorspace.ITU601


class ToYuv:
    """RGB pixels to frames for an encoder: yuv420p, BT.709, limited range, sides made even."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, pixels: NDArray[np.uint8]) -> VideoFrame:
        """A frame of `pixels` (H, W, 3); an odd side is made even by repeating its last row or column, so no pixel is lost."""
        height, width = pixels.shape[:2]
        if height % 2 or width % 2:
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = VideoFrame.from_numpy_buffer(np.ascontiguousarray(pixels), "rgb24")
        return self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC | _EXACT,
        )
