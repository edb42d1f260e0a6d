"""Gives a painted face the target's light: broad colour from the target, fine detail from the source.

Brightness is carried over as a ratio to that of the surroundings, as shadows and pigment act on light, so a dark face's brows stay brows on
a fair one; hue is carried over as a difference, which does not tear dark colours apart.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.faceswap.geometry import FloatArray, smooth_step
from models.faceswap.raster import CELLS, Canvas

_BROAD = 0.1  # standard deviation of what counts as broad, in face widths
_COARSE = 3  # broad colour is worked out on cells this much larger
_CONTRAST = (0.5, 1.1)  # bounds on how far the source's detail is scaled to the strength of the target's
_HUE = 0.8  # of the source's differences in hue: make-up and coloured light get weaker, lips still differ from skin
_BURNT = (190.0, 245.0)  # brightness of the target from which its skin loses colour, to which it has lost it
_SHADE = np.array([0.14, -0.02, -0.16], np.float32)  # what skin's colour has more of in the shade, of its brightness


def match(painted: NDArray[np.uint8], target: NDArray[np.uint8], weight: FloatArray, canvas: Canvas) -> NDArray[np.uint8]:
    """`painted` in the light of `target`, both (h, w, 3) of `canvas`; `weight` (rows, columns) marks the skin to go by."""
    grids = [_shrink(pixels, canvas.columns, canvas.rows) for pixels in (painted, target)]
    own, wanted = (np.maximum(broad(grid, weight, CELLS), 4) for grid in grids)
    own_light, wanted_light = luminance(own), luminance(wanted)
    details = [np.abs(luminance(grid) / light - 1) for grid, light in zip(grids, (own_light, wanted_light), strict=True)]
    strengths = [float((detail * weight).sum()) for detail in details]
    contrast = float(np.clip(strengths[1] / max(strengths[0], 1e-3), *_CONTRAST))
    hue = _HUE * contrast * min(1.0, float((wanted_light * weight).sum() / max(float((own_light * weight).sum()), 1e-3)))
    # Over-exposed skin has lost its colour, and shadows painted on it would be grey: they get the tint of skin in the shade.
    burnt = smooth_step(wanted_light, *_BURNT)[..., None]
    slope = np.float32(contrast) * (1 - np.float32(0.2) * burnt) * wanted - burnt * wanted_light[..., None] * _SHADE
    # With b the brightness of `painted` over `own_light`: wanted + slope * (b - 1) + hue * (painted - own * b)
    grey = cv2.cvtColor(cv2.cvtColor(painted, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    lit = cv2.multiply(grey, canvas.stretch((slope - np.float32(hue) * own) / own_light[..., None]), dtype=cv2.CV_32F)
    lit = cv2.add(lit, canvas.stretch(wanted - slope))
    return cv2.addWeighted(painted, hue, lit, 1.0, 0.0, dtype=cv2.CV_8U).astype(np.uint8, copy=False)


def luminance(pixels: FloatArray) -> FloatArray:
    """Of colours (..., 3)."""
    return pixels @ np.array([0.299, 0.587, 0.114], np.float32)


def broad(pixels: FloatArray, weight: FloatArray, width: float) -> FloatArray:
    """The weighted blur of `pixels` (h, w, 3) of a face of `width`: those without weight get the colour of weighted ones nearby."""
    size = (max(1, pixels.shape[1] // _COARSE), max(1, pixels.shape[0] // _COARSE))
    sums = cv2.resize(np.dstack([pixels * weight[..., None], weight]), size, interpolation=cv2.INTER_AREA)
    sums = cv2.GaussianBlur(sums, (0, 0), _BROAD * width / _COARSE, borderType=cv2.BORDER_REPLICATE).astype(np.float32, copy=False)
    low = sums[..., :3] / np.maximum(sums[..., 3:], 1e-4)
    return cv2.resize(low, (pixels.shape[1], pixels.shape[0])).astype(np.float32, copy=False)


def _shrink(pixels: NDArray[np.uint8], columns: int, rows: int) -> FloatArray:
    if pixels.shape[:2] != (rows, columns):
        pixels = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return pixels.astype(np.float32)
