"""High dynamic range (HLG of telephones, PQ) to the standard range, by one table lookup a pixel."""

from functools import cache

import numpy as np
from av.video.reformatter import ColorTrc
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFilter

_WHITE_NITS = 203.0  # diffuse white in HDR, ITU-R BT.2408; becomes white of the standard range
_PEAK_NITS = 1000.0  # what is brighter is clipped; highlights up to here are squeezed in below white
_KNEE = 0.6  # share of white below which nothing changes, so that faces keep their brightness
_SIDE = 33  # points a side of the table
_BT2020_TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])  # BT.2087


def is_hdr(transfer: int) -> bool:
    """Whether a frame's transfer characteristic is one of high dynamic range."""
    return transfer in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)


def to_sdr(pixels: NDArray[np.uint8], transfer: int) -> NDArray[np.uint8]:
    """BT.2020 pixels (H, W, 3) in `transfer` as BT.709 pixels for ordinary screens."""
    return np.asarray(Pillow.fromarray(pixels).filter(_table(transfer)))


@cache
def _table(transfer: int) -> ImageFilter.Color3DLUT:
    axis = np.linspace(0, 1, _SIDE)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")  # red varies fastest, as Pillow wants it
    signal = np.stack([red, green, blue], axis=-1)
    light = _pq(signal) if transfer == ColorTrc.SMPTE2084 else _hlg(signal)
    light = np.maximum(np.minimum(light, _PEAK_NITS) / _WHITE_NITS @ _BT2020_TO_BT709.T, 0)
    shown = np.minimum(_squeezed(light), 1) ** (1 / 2.2)
    return ImageFilter.Color3DLUT(_SIDE, shown.astype(np.float32).ravel().tolist())


def _squeezed(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unchanged up to the knee, then rising ever slower to 1 at the peak (Reinhard's curve with a white point)."""
    over = np.maximum(light - _KNEE, 0) / (1 - _KNEE)
    peak = (_PEAK_NITS / _WHITE_NITS - _KNEE) / (1 - _KNEE)
    return np.where(light <= _KNEE, light, _KNEE + (1 - _KNEE) * over * (1 + over / peak**2) / (1 + over))


def _hlg(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signal to nits on a screen of 1000, ITU-R BT.2100 table 5."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    brightness = (scene @ np.array([0.2627, 0.6780, 0.0593]))[..., None]
    return 1000 * np.maximum(brightness, 1e-9) ** 0.2 * scene


def _pq(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signal to nits, ITU-R BT.2100 table 4."""
    m1, m2, c1, c2, c3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
    root = signal ** (1 / m2)
    return 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
