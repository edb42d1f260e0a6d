"""Narrows painted patches: to a soft box, to the oval of the face, to what nothing hides."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from models.faceswap import bundled
from models.faceswap.arc.align import similarity
from models.faceswap.engine import Patch
from models.faceswap.geometry import FloatArray, face_width, smooth_step
from models.faceswap.landmarks import five_points, has_mesh
from models.faceswap.mesh import Mesh
from models.faceswap.occlusion import mesh_of
from models.faceswap.raster import Canvas, draw
from models.faceswap.tracker import Cover, Seen
from models.task import FaceMask, Image

_CROP = 128  # the square around a face that boxes are drawn in
_FEATHER = 0.09  # of the oval, in face widths


def narrow(patches: Sequence[Patch], frames: Sequence[Image], seen: Sequence[Seen], mask: FaceMask, mesh: Mesh) -> list[Patch]:
    """The patches with less alpha, as `mask` asks; one frame and face each."""
    boxed = mask.blur > 0 or any(mask.padding)
    done: list[Patch] = []
    for patch, frame, one in zip(patches, frames, seen, strict=True):
        if patch.alpha.size:
            alpha = patch.alpha
            if boxed:
                alpha = alpha * _in_patch(_box(_sides(one), mask.blur, mask.padding), patch, one)
            if mask.oval and not has_mesh(one.face):
                alpha = alpha * _oval(mesh_of(frame, one, mesh) if one.cover is None else one.cover.landmarks, patch)
            if one.cover is not None and one.cover.hidden.any():
                alpha = alpha * (1 - _hidden(one.cover, patch, frame.shape[:2]))
            patch = replace(patch, alpha=np.ascontiguousarray(alpha, np.float32))
        done.append(patch)
    return done


def _sides(seen: Seen) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the painted face in the crop: of its oval where that is known, else the whole square."""
    if not has_mesh(seen.face):
        return (0.0, 0.0, float(_CROP), float(_CROP))
    (crop,) = similarity(five_points(seen.face)[None], _CROP)
    oval = seen.face.landmarks[bundled.topology("oval"), :2] @ crop[:, :2].T + crop[:, 2]
    low, high = oval.min(axis=0), oval.max(axis=0)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def _box(sides: tuple[float, float, float, float], blur: float, padding: tuple[float, ...]) -> FloatArray:
    """(128, 128): 1 in the padded box, falling to 0 toward its sides over `blur` times half of it."""
    left, top, right, bottom = sides
    width, height = right - left, bottom - top
    x = _ramp(left + padding[3] * width, right - padding[1] * width, blur)
    y = _ramp(top + padding[0] * height, bottom - padding[2] * height, blur)
    return np.outer(y, x).astype(np.float32)


def _ramp(start: float, end: float, blur: float) -> FloatArray:
    at = np.arange(_CROP, dtype=np.float32) + np.float32(0.5)
    inside = np.minimum(at - np.float32(start), np.float32(end) - at)
    return smooth_step(inside, 0.0, max(1.0, blur * (end - start) / 2))


def _in_patch(mask: FloatArray, patch: Patch, seen: Seen) -> FloatArray:
    """A mask in the crop as it lies in the patch."""
    (crop,) = similarity(five_points(seen.face)[None], _CROP)
    matrix = crop.copy()
    matrix[:, 2] += crop[:, :2] @ (patch.left, patch.top)
    size = (patch.alpha.shape[1], patch.alpha.shape[0])
    return cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP).astype(np.float32, copy=False)


def _oval(landmarks: FloatArray, patch: Patch) -> FloatArray:
    """(h, w): 1 inside the oval, falling to 0 toward it."""
    height, width = patch.alpha.shape
    drawn = np.zeros((height + 2, width + 2), np.uint8)
    oval = landmarks[bundled.topology("oval"), :2] - (patch.left - 1, patch.top - 1)
    cv2.fillPoly(drawn, [np.round(oval * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    inside = cv2.distanceTransform(drawn, cv2.DIST_L2, 3)[1:-1, 1:-1].astype(np.float32)
    return smooth_step(inside, 0.0, _FEATHER * face_width(landmarks))


def _hidden(cover: Cover, patch: Patch, frame: tuple[int, int]) -> FloatArray:
    """(h, w): how surely each pixel of the patch is hidden."""
    points = cover.landmarks[:, :2]
    canvas = Canvas.around(points, face_width(cover.landmarks), frame)
    found = np.zeros(patch.alpha.shape, np.float32)
    if canvas is None:
        return found
    raster = draw(points, cover.landmarks[:, 2], canvas)
    where = raster.map_by(raster.toward(cover.home))
    hidden = cv2.remap(cover.hidden, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # pyright: ignore[reportCallIssue, reportArgumentType]
    pixels = canvas.stretch(hidden.astype(np.float32, copy=False))
    _overlay(found, pixels, canvas.top - patch.top, canvas.left - patch.left)
    return found


def _overlay(onto: FloatArray, part: FloatArray, top: int, left: int) -> None:
    """Write `part` into `onto` at (top, left), in place; what reaches over its edges is left out."""
    bottom, right = min(onto.shape[0], top + part.shape[0]), min(onto.shape[1], left + part.shape[1])
    start_y, start_x = max(top, 0), max(left, 0)
    if bottom > start_y and right > start_x:
        onto[start_y:bottom, start_x:right] = part[start_y - top : bottom - top, start_x - left : right - left]
