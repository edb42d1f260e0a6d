"""An invisible mark on frames with a swapped face, for when a file's Content Credentials were stripped.

A faint pattern of noise is laid over the frame in tiles (spread spectrum; Cox et al. 1997). The detector folds the frame's fine detail onto
one tile and looks for the pattern at every shift, so the mark survives re-encoding and cropping; it does not survive scaling. It says that
this system swapped a face here, and nothing else.
"""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.faceswap.geometry import FloatArray
from models.task import Image

TILE = 64
STRENGTH = 2.0  # of 255: standard deviation of what is added, about 42 dB below the picture
SURE = 7.0  # standard deviations of the correlation above which a mark is there: noise reaches 4.5 over a tile's shifts
_SEED = 20_260_131
_FINE = 1.2  # pixels: the pattern is no finer, or encoders would drop it


def mark(frame: Image) -> None:
    """Lay the mark over `frame`, in place."""
    np.copyto(frame, cv2.add(frame, _laid(frame.shape[0], frame.shape[1]), dtype=cv2.CV_8U))


def marked(frame: Image) -> float:
    """How surely `frame` carries the mark: its correlation in standard deviations, to be held against `SURE`."""
    luma = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = np.clip(luma - cv2.GaussianBlur(luma, (0, 0), 3.0), -8, 8)  # edges of the picture must not drown it
    rows, columns = fine.shape[0] // TILE, fine.shape[1] // TILE
    if not rows or not columns:
        return 0.0
    folded = fine[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE).mean(axis=(0, 2))
    found = np.fft.ifft2(np.fft.fft2(folded - folded.mean()) * np.conj(np.fft.fft2(_tile()))).real
    return float((found.max() - found.mean()) / max(float(found.std()), 1e-9))


@cache
def _tile() -> FloatArray:
    """(TILE, TILE), seamless, mean 0, standard deviation 1."""
    noise = np.random.default_rng(_SEED).standard_normal((TILE, TILE)).astype(np.float32)
    wide = cv2.GaussianBlur(np.tile(noise, (3, 3)), (0, 0), _FINE)[TILE : 2 * TILE, TILE : 2 * TILE]
    return ((wide - wide.mean()) / wide.std()).astype(np.float32)


@cache
def _laid(height: int, width: int) -> NDArray[np.int16]:
    """(height, width, 3): what is added to a frame of this size."""
    tiled = np.tile(_tile(), (-(-height // TILE), -(-width // TILE)))[:height, :width]
    laid = np.repeat(np.round(STRENGTH * tiled)[..., None], 3, axis=2).astype(np.int16)
    laid.setflags(write=False)
    return laid
