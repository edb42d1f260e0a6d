"""A source face made ready once: evenly lit, at several sizes, with its landmarks."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.faceswap import bundled, colour
from models.faceswap.geometry import FloatArray, face_width, smooth_step
from models.faceswap.mesh import LANDMARKS
from models.faceswap.raster import Canvas, Raster, draw, facing, triangles, warp
from models.faceswap.shape import Zones
from models.task import Image

WIDTH = 640  # largest kept width of a face, in pixels
_SMALLEST = 48
_STEP = 2**0.5  # from one size to the next
_DECISION_WIDTH = 160
_SHINE = 1.1  # luminance over that of the surroundings from which it is a highlight
_UNSEEN = 60  # what a side turned away counts, in the units of strangeness
_SKIN = (1, 4, 5, 8, 9, 50, 101, 117, 151, 205, 280, 330, 346, 425)  # nose, cheeks, forehead
_ABOVE_BROWS = [10, 338, 297, 332, 284, 251, 109, 67, 103, 54, 21, 151, 337, 299, 333, 298, 108, 69, 104, 68, 9]


@dataclass(frozen=True, slots=True)
class Texture:
    """The face at one size: pixels (h, w, 3), cover (h, w) how far each may be used (255: fully), landmarks (468, 2) in its pixels."""

    pixels: Image
    cover: NDArray[np.uint8]
    points: FloatArray
    width: float


@dataclass(frozen=True, slots=True)
class Portrait:
    """A source face.

    landmarks: float32 (468, 3) in the pixels of the largest texture. textures: largest first.
    """

    landmarks: FloatArray
    zones: Zones
    textures: tuple[Texture, ...]

    def at(self, width: float) -> Texture:
        """The smallest texture that still has the detail for a face of `width` pixels."""
        fitting = [texture for texture in self.textures if texture.width >= 0.9 * width]
        return fitting[-1] if fitting else self.textures[0]


def prepare(image: Image, landmarks: FloatArray) -> Portrait:
    """Cut the face out of `image`, even its light out and make the sizes."""
    width = face_width(landmarks)
    scale = min(1.0, WIDTH / width)
    margin = 0.1 * width
    height, full = image.shape[:2]
    left, top = (int(value) for value in np.clip(landmarks[:, :2].min(axis=0) - margin, 0, (full - 2, height - 2)))
    right, bottom = (int(value) for value in np.clip(landmarks[:, :2].max(axis=0) + margin, (left + 2, top + 2), (full, height)))
    part = image[top:bottom, left:right]
    size = (max(2, round((right - left) * scale)), max(2, round((bottom - top) * scale)))
    pixels = cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    own = ((landmarks - (left, top, 0) + (0.5, 0.5, 0)) * scale - (0.5, 0.5, 0)).astype(np.float32)
    pixels, cover = _even_out(pixels, own)
    return Portrait(own, Zones.of(own), _sizes(pixels, cover, own))


def _sizes(pixels: Image, cover: NDArray[np.uint8], landmarks: FloatArray) -> tuple[Texture, ...]:
    width = face_width(landmarks)
    textures = [Texture(pixels, cover, landmarks[:, :2], width)]
    while textures[-1].width / _STEP >= _SMALLEST:
        scale = _STEP ** -len(textures)
        size = (max(2, round(pixels.shape[1] * scale)), max(2, round(pixels.shape[0] * scale)))
        stretch = np.array([size[0] / pixels.shape[1], size[1] / pixels.shape[0]], np.float32)
        points = (landmarks[:, :2] + np.float32(0.5)) * stretch - np.float32(0.5)
        smaller = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False) for plane in (pixels, cover)]
        textures.append(Texture(smaller[0], smaller[1], points, width * scale))
    return tuple(textures)


def _even_out(pixels: Image, landmarks: FloatArray) -> tuple[Image, NDArray[np.uint8]]:
    """Replace what is badly lit, covered by hair or turned away by its mirror image, where that is nearer to the skin's colour.

    Returns the pixels and how far each may be used.
    """
    size = (pixels.shape[1], pixels.shape[0])
    raster = draw(landmarks[:, :2], landmarks[:, 2], Canvas(0, 0, 1, *size))
    mirrored = warp(pixels, raster.map_by(raster.toward(landmarks[bundled.topology("mirror"), :2])))

    # Where to do so is a question of broad areas: decided on a small copy.
    scale = min(1.0, _DECISION_WIDTH / face_width(landmarks))
    points = landmarks * np.float32(scale)
    small = (max(2, round(size[0] * scale)), max(2, round(size[1] * scale)))
    raster = draw(points[:, :2], points[:, 2], Canvas(0, 0, 1, *small))
    own, other = (cv2.resize(side, small, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False) for side in (pixels, mirrored))
    swap, cover = _decide(own, other, points, raster)
    mixed = own + swap[..., None] * (other.astype(np.float32) - own)
    around = colour.broad(mixed, np.maximum(cover, 1e-3), face_width(points))

    swap = cv2.resize(swap, size)[..., None]
    even = _matte(pixels + swap * (mirrored.astype(np.float32) - pixels), cv2.resize(around, size).astype(np.float32))
    cover = np.clip(cv2.resize(cover, size) * 255, 0, 255)
    return np.clip(even + 0.5, 0, 255).astype(np.uint8), cover.astype(np.uint8)


def _decide(own: Image, other: Image, landmarks: FloatArray, raster: Raster) -> tuple[FloatArray, FloatArray]:
    """(h, w) twice, 0..1: how far each pixel is taken from the mirror image, and how far the result may be used."""
    width = face_width(landmarks)
    inside = (raster.numbers < len(triangles())).astype(np.float32)
    turned = facing(landmarks)
    seen, other_seen = (_soften(raster.spread(side), 0.03 * width) for side in (turned, _of_mirror(turned)))
    skin = _skin(own, landmarks)
    strange, other_strange = (_strangeness(side, inside, skin, width) for side in (own, other))
    gain = strange - other_strange + _UNSEEN * (other_seen - seen)
    swap = _soften(smooth_step(gain, 8, 20) * inside, 0.03 * width)

    left = strange + swap * (other_strange - strange)  # hair on both sides of the forehead is left out
    clean = 1 - smooth_step(left, 8, 18) * _soften(raster.spread(_forehead()), 0.03 * width)
    edge = cv2.distanceTransform(np.pad(inside.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1] / np.float32(width)
    best = np.maximum(seen, smooth_step(swap, 0.5, 1.0) * other_seen)
    return swap, np.minimum(np.minimum(smooth_step(best, 0.1, 0.5), clean), smooth_step(edge, 0.0, 0.06)).astype(np.float32)


def _matte(pixels: FloatArray, around: FloatArray) -> FloatArray:
    """Pixels (h, w, 3) with their highlights subdued and in the hue of their surroundings `around` (h, w, 3): they show the lamps."""
    shine = (colour.luminance(pixels) / np.maximum(colour.luminance(around), 1))[..., None]
    coloured = pixels + smooth_step(shine, 1.0, 1.15) * (around * shine - pixels)
    subdued = np.minimum(shine, _SHINE + (shine - _SHINE) * np.float32(0.3))
    return coloured * (subdued / np.maximum(shine, 1e-3))


def _forehead() -> FloatArray:
    """(898,): 1 for the triangles above the brows."""
    return np.asarray(np.isin(triangles(), _ABOVE_BROWS).all(axis=1), np.float32)


def _soften(values: FloatArray, sigma: float) -> FloatArray:
    return cv2.GaussianBlur(values, (0, 0), sigma).astype(np.float32, copy=False)


def _of_mirror(values: FloatArray) -> FloatArray:
    """(898,): the value of each triangle's mirror image, by way of the landmarks."""
    total, count = np.zeros(LANDMARKS, np.float32), np.zeros(LANDMARKS, np.float32)
    np.add.at(total, triangles(), values[:, None])
    np.add.at(count, triangles(), 1)
    return (total / count)[bundled.topology("mirror")][triangles()].mean(axis=1)


def _skin(pixels: Image, landmarks: FloatArray) -> FloatArray:
    """The face's own skin colour in Lab (3,): the median around nose, cheeks and forehead."""
    spots = landmarks[list(_SKIN), :2]
    spots = np.clip(np.round(spots).astype(int), 0, (pixels.shape[1] - 1, pixels.shape[0] - 1))
    radius = max(1, round(0.02 * face_width(landmarks)))
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32)
    patches = [lab[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1].reshape(-1, 3) for x, y in spots]
    return np.median(np.concatenate(patches), axis=0).astype(np.float32)


def _strangeness(pixels: Image, inside: FloatArray, skin: FloatArray, width: float) -> FloatArray:
    """(h, w): how far the surroundings of each pixel are from the skin's colour, in units of Lab; darkness counts more than light."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32) - skin
    lab[..., 0] = np.where(lab[..., 0] < 0, lab[..., 0], lab[..., 0] * 0.5) * 0.6
    distance = np.linalg.norm(lab, axis=-1) * inside
    sigma = 0.035 * width
    return _soften(distance, sigma) / np.maximum(_soften(inside, sigma), 1e-3)
