"""Paints a portrait over one face of a frame: warp, light, mask."""

import cv2
import numpy as np

from models.faceswap import bundled, colour
from models.faceswap.engine import Patch
from models.faceswap.geometry import FloatArray, face_width, smooth_step, turn_deg
from models.faceswap.portrait import Portrait
from models.faceswap.raster import CELLS, Canvas, Raster, draw, facing, triangles, warp
from models.faceswap.shape import reshape, smile_gap
from models.task import Image

_OPENINGS = ("mouth", "right_eye", "left_eye")
_FEATHER = 0.09  # of the mask's edge, in face widths
_FADE_DEG = (55.0, 69.0)  # between the two faces' directions: from here the target shows through, to here it alone does
# The same for the target's own turn to the side. The mesh flattens what is turned far: from 62 degrees on a head reads as one at 53 to 58,
# and near 75 the mesh loses it, so that what is not gone by then would vanish at once.
_PROFILE_DEG = (46.0, 53.0)
_FACING = (0.12, 0.42)  # cosine between a triangle and the viewer: hidden below, fully painted above
_SMILE = (0.02, 0.08)  # difference of the mouths' widths: from here the source's laughter lines fade, to here they are gone
_EMPTY = Patch(0, 0, np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.float32))


def paint(frame: Image, landmarks: FloatArray, portrait: Portrait) -> Patch:
    """The patch of `frame` with the portrait over the face at `landmarks` (468, 3); empty when it cannot be seen or is turned too far."""
    points, pose = reshape(landmarks, portrait.landmarks, portrait.zones)
    width = face_width(landmarks)
    canvas = Canvas.around(points, width, frame.shape[:2])
    fade = min(_fade(pose.tilt_deg, _FADE_DEG), _fade(turn_deg(landmarks), _PROFILE_DEG))
    if canvas is None or fade == 0:
        return _EMPTY
    raster = draw(points, landmarks[:, 2], canvas)
    texture = portrait.at(width)
    openings = _openings(points, canvas)
    where = raster.map_by(raster.toward(texture.points))
    mask = _mask(raster, points, landmarks, warp(texture.cover, where)) * np.float32(fade)
    mask *= 1 - _creases(raster, landmarks, portrait)
    target = canvas.cut(frame)
    painted = warp(texture.pixels, canvas.stretch(where))
    painted = colour.match(painted, target, mask * (1 - openings), canvas)
    home = raster.toward(landmarks[:, :2])
    for name in _OPENINGS:
        _reopen(painted, frame, home, points[bundled.topology(name)], openings, raster)
    seen = np.s_[: frame.shape[0] - canvas.top, : frame.shape[1] - canvas.left]  # the canvas may reach over the edges
    return Patch(canvas.top, canvas.left, np.ascontiguousarray(painted[seen]), np.ascontiguousarray(canvas.stretch(mask)[seen]))


def _fade(angle_deg: float, limits: tuple[float, float]) -> float:
    return float(smooth_step(np.array([angle_deg], np.float32), limits[1], limits[0])[0])


def _openings(points: FloatArray, canvas: Canvas) -> FloatArray:
    """(rows, columns), 1 between the lips and between the lids: there the target's own teeth, tongue and gaze show."""
    drawn = np.zeros((canvas.rows, canvas.columns), np.uint8)
    cells = np.round(canvas.to_cells(points) * 16).astype(np.int32)
    for name in _OPENINGS:
        cv2.fillPoly(drawn, [cells[bundled.topology(name)]], 255, cv2.LINE_AA, 4)
    sigma = 0.008 * CELLS
    return cv2.GaussianBlur(drawn.astype(np.float32) / 255, (0, 0), sigma).astype(np.float32, copy=False)


def _mask(raster: Raster, points: FloatArray, landmarks: FloatArray, cover: Image) -> FloatArray:
    """(rows, columns), 0..1: least of the distance to the oval, what the source offers and how far the face is turned to the viewer."""
    canvas, margin = raster.canvas, round(_FEATHER * CELLS)  # drawn with a margin, or the mask would end where the frame cuts the face
    drawn = np.zeros((canvas.rows + 2 * margin, canvas.columns + 2 * margin), np.uint8)
    oval = canvas.to_cells(points)[bundled.topology("oval")] + np.float32(margin)
    cv2.fillPoly(drawn, [np.round(oval * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    inside = cv2.distanceTransform(drawn, cv2.DIST_L2, 3)[margin:-margin, margin:-margin].astype(np.float32)
    edge = smooth_step(inside, 0.0, _FEATHER * CELLS)
    turned = cv2.GaussianBlur(raster.spread(facing(landmarks)), (0, 0), 0.03 * CELLS).astype(np.float32)
    mask = np.minimum(np.minimum(edge, cover / np.float32(255)), smooth_step(turned, *_FACING))
    return cv2.GaussianBlur(mask, (0, 0), 0.01 * CELLS).astype(np.float32, copy=False)


def _creases(raster: Raster, landmarks: FloatArray, portrait: Portrait) -> FloatArray:
    """(rows, columns), 0..1: where laughter lines of the source do not belong to the target's smile, or lack of one."""
    gap = smooth_step(np.array([smile_gap(landmarks, portrait.landmarks)], np.float32), *_SMILE)
    folds = raster.spread(portrait.zones.folds[triangles()].mean(axis=1))
    return np.float32(0.75) * gap * cv2.GaussianBlur(folds, (0, 0), 0.03 * CELLS)


def _reopen(painted: Image, frame: Image, home: FloatArray, rim: FloatArray, openings: FloatArray, raster: Raster) -> None:
    """Put the target's pixels back into the opening inside `rim` of `painted`, moved along with it; `home` leads from cells to them."""
    canvas = raster.canvas
    margin = 0.03 * CELLS
    cells = canvas.to_cells(rim)
    low = np.clip(np.floor(cells.min(axis=0) - margin).astype(int), 0, (canvas.columns, canvas.rows))
    high = np.clip(np.ceil(cells.max(axis=0) + margin).astype(int), 0, (canvas.columns, canvas.rows))
    if (high <= low).any():
        return
    part = np.s_[low[1] : high[1], low[0] : high[0]]
    k = canvas.cell
    box = np.s_[low[1] * k : high[1] * k, low[0] * k : high[0] * k]
    own = warp(frame, canvas.stretch(raster.map_by(home, part)))
    weight = canvas.stretch(np.ascontiguousarray(openings[part]))
    painted[box] = cv2.blendLinear(own, np.ascontiguousarray(painted[box]), weight, 1 - weight)
