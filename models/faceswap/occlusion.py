"""Finds what hides a face - hands, hair, the rims of glasses - so that it stays in front of the painted one. No network is needed for it.

The face is unrolled onto a small square by its mesh, where skin keeps its place however the head moves. There each point remembers how it
usually looks; what suddenly looks otherwise hides the face. What is there from the first frame is told by its colour: thin lines and dark
areas on the forehead, the bridge of the nose and around the eyes, where a face has bare skin.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from models.faceswap import bundled
from models.faceswap.geometry import FloatArray, face_width, smooth_step, to_loop
from models.faceswap.landmarks import five_points, has_mesh
from models.faceswap.mesh import Mesh, Region
from models.faceswap.raster import Canvas, Raster, draw, facing, warp
from models.faceswap.tracker import Cover, Seen, Tracked
from models.task import Image

SIDE = 96  # of the unrolled face
_MARGIN = 4
_SUDDEN = (18.0, 34.0)  # difference from the usual look, in units of Lab: from here a point may be hidden, from here it is
_UNUSUAL = 3.0  # times the point's own usual difference that it must be as well
_THIN = (13.0, 24.0)  # darker than its surroundings, from here a line may lie over skin, from here it does
_DARK = (60.0, 85.0)  # the same of whole areas, against the skin of the face
_LEARN, _YIELD = 0.12, 0.02  # how fast the usual look follows what is seen: of points in view, of hidden ones
_MOVING = 0.45  # of a difference that counts where expression changes the look: eyes and mouth
_HOLE = 13  # points across a hole in what hides the face that is filled
_LEAST = 0.015  # of the face that must be hidden for anything to be
_LIGHT_STEP = 3.0  # most that the light on the whole face changes from frame to frame, in units of Lab
_SPREAD = (4.0, 9.0)  # bounds of a point's usual difference
_EVERYWHERE = 0.75  # of the face that cannot be hidden at once and still be followed: then the light has changed
_NOSE = (1, 2, 4, 5, 45, 275, 48, 278, 98, 327, 115, 344, 129, 358, 203, 423, 198, 420)  # its sides are dark by their own shadow
_BROWS = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
_SKIN = (1, 4, 5, 50, 101, 117, 205, 280, 330, 346, 425)
_CHEEK_LINE = (50, 280, 205, 425)
_LIGHTNESS = np.array([0.6, 1.0, 1.0], np.float32)  # light changes more often than colour


class Occlusion:
    """Of the faces of one clip, frame by frame."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._looks: dict[int, _Look] = {}

    def find(self, tracked: Iterable[Tracked]) -> Iterator[Tracked]:
        """The same frames, each face with its Cover."""
        for item in tracked:
            self._looks = {seen.track: self._looks[seen.track] for seen in item.faces if seen.track in self._looks}
            yield replace(item, faces=tuple(self._covered(item.frame, seen) for seen in item.faces))

    def _covered(self, frame: Image, seen: Seen) -> Seen:
        landmarks = mesh_of(frame, seen, self._mesh)
        look = self._looks.get(seen.track)
        if look is None:
            look = self._looks[seen.track] = _Look(landmarks)
        return replace(seen, cover=Cover(look.hidden(frame, landmarks), look.home, landmarks))


def mesh_of(frame: Image, seen: Seen, mesh: Mesh) -> FloatArray:
    """Landmarks (468, 3) of a face: its own, or read around its five points."""
    if has_mesh(seen.face):
        return seen.face.landmarks
    left, right, *_ = points = five_points(seen.face)
    x, y = right - left
    middle = points.mean(axis=0)
    side = 4.2 * float(np.linalg.norm(points - middle, axis=1).mean())
    rough, _ = mesh.read(frame, Region((float(middle[0]), float(middle[1])), side, float(np.arctan2(y, x))))
    return mesh.read(frame, Region.of_landmarks(rough))[0]


class _Look:
    """How one face usually looks, unrolled. home: landmarks (468, 2) on the square."""

    def __init__(self, landmarks: FloatArray) -> None:
        self.home = _unroll(landmarks)
        self._raster: Raster = draw(self.home, np.zeros(len(self.home), np.float32), Canvas(0, 0, 1, SIDE, SIDE))
        self._moving, self._bare = _zones(self.home)
        self._usual: FloatArray | None = None
        self._spread = np.full((SIDE, SIDE), 6.0, np.float32)
        self._known = np.zeros((SIDE, SIDE), np.float32)
        self._hidden = np.zeros((SIDE, SIDE), np.float32)
        self._light = np.zeros(3, np.float32)

    def hidden(self, frame: Image, landmarks: FloatArray) -> FloatArray:
        """(SIDE, SIDE) in 0..1: how surely each point is hidden in `frame`; learns from it."""
        seen = self._raster.spread(smooth_step(facing(landmarks), 0.1, 0.3))
        lab = self._unrolled(frame, landmarks)
        strange = _strange(lab - _typical(lab, self.home), seen) * self._bare
        if self._usual is None:
            self._usual = lab.copy()
        colour = lab - self._follow_light(lab, seen)
        change = np.linalg.norm((colour - self._usual) * _LIGHTNESS, axis=-1) * self._moving
        change = cv2.GaussianBlur(change, (0, 0), 1.2).astype(np.float32)
        sudden = smooth_step(change, *_SUDDEN) * smooth_step(change / self._spread, _UNUSUAL, _UNUSUAL + 1.5)
        sudden *= smooth_step(self._known, 0.3, 0.6)
        if float((sudden * seen).sum()) > _EVERYWHERE * float(seen.sum()):
            self._usual, self._known[:] = colour.copy(), 0.05
            sudden[:] = 0
        hidden = np.maximum(sudden, strange) * seen
        self._hidden = hidden
        self._learn(colour, change, hidden, seen)
        if float(hidden.mean()) < _LEAST * float(seen.mean()):
            return np.zeros((SIDE, SIDE), np.float32)
        whole = cv2.morphologyEx(hidden, cv2.MORPH_CLOSE, np.ones((_HOLE, _HOLE), np.uint8))  # eyes and mouth under a hand
        grown = cv2.dilate(whole, np.ones((3, 3), np.uint8)) * seen
        return cv2.GaussianBlur(grown, (0, 0), 1.0).astype(np.float32)

    def _follow_light(self, lab: FloatArray, seen: FloatArray) -> FloatArray:
        """How much lighter and more tinted (3,) the whole face is than usual: it follows slowly, since a hand is no lamp."""
        assert self._usual is not None
        sure = (seen > 0.5) & (self._hidden < 0.3)
        if sure.sum() > 0.1 * SIDE * SIDE:
            now = np.median((lab - self._usual)[sure], axis=0)
            self._light = self._light + np.clip(now - self._light, -_LIGHT_STEP, _LIGHT_STEP).astype(np.float32)
        return self._light

    def _unrolled(self, frame: Image, landmarks: FloatArray) -> FloatArray:
        """(SIDE, SIDE, 3) in Lab; large faces are averaged down first, or fine texture would flicker."""
        factor = max(1, round(face_width(landmarks) / SIDE))
        canvas = Canvas.around(landmarks[:, :2], face_width(landmarks), frame.shape[:2])
        if canvas is None:
            return np.zeros((SIDE, SIDE, 3), np.float32)
        part = frame[canvas.top : canvas.top + canvas.rows * canvas.cell, canvas.left : canvas.left + canvas.columns * canvas.cell]
        size = (max(2, part.shape[1] // factor), max(2, part.shape[0] // factor))
        small = cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        stretch = np.array([size[0] / part.shape[1], size[1] / part.shape[0]], np.float32)
        points = (landmarks[:, :2] - (canvas.left, canvas.top) + 0.5) * stretch - 0.5
        pixels = warp(small, self._raster.map_by(self._raster.toward(points.astype(np.float32))))
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).astype(np.float32)

    def _learn(self, colour: FloatArray, change: FloatArray, hidden: FloatArray, seen: FloatArray) -> None:
        assert self._usual is not None
        first = self._known < 0.05
        pace = np.where(hidden > 0.3, _YIELD, _LEARN) * seen
        pace = np.where(first, seen, pace).astype(np.float32)
        self._usual += pace[..., None] * (colour - self._usual)
        self._spread += np.where(first, 0, pace) * (np.clip(change, *_SPREAD) - self._spread)
        self._known = np.minimum(1, self._known + np.float32(0.12) * seen * (hidden < 0.3))


def _unroll(landmarks: FloatArray) -> FloatArray:
    """The face seen from the front (468, 2), filling the square."""
    across = landmarks[454] - landmarks[234]
    down = landmarks[152] - landmarks[10]
    x = across / np.linalg.norm(across)
    z = np.cross(x, down)
    z /= np.linalg.norm(z)
    front = (landmarks - landmarks.mean(axis=0)) @ np.stack([x, np.cross(z, x)], axis=1)
    low, high = front.min(axis=0), front.max(axis=0)
    return (_MARGIN + (front - low) * ((SIDE - 1 - 2 * _MARGIN) / (high - low))).astype(np.float32)


def _zones(home: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(SIDE, SIDE) twice: how far a change counts, and where a face has bare skin above the cheeks."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    cells = np.stack([x.ravel(), y.ravel()], axis=1)

    def near(points: NDArray[np.intp], start: float, end: float) -> FloatArray:
        return smooth_step(to_loop(np.concatenate([cells, home]), points + len(cells))[: len(cells)], end, start).reshape(SIDE, SIDE)

    features = [bundled.topology(name) for name in ("mouth", "right_eye", "left_eye")]
    moving = np.maximum.reduce([near(points, 5, 9) for points in features])
    brows = near(np.array(_BROWS), 4, 7)
    eyes = np.maximum(near(features[1], 2.5, 4.5), near(features[2], 2.5, 4.5))
    edge = near(bundled.topology("oval"), 3, 6)
    nose = near(np.array(_NOSE), 5, 9)
    above = smooth_step(y, float(home[list(_CHEEK_LINE), 1].mean()) + 6, float(home[list(_CHEEK_LINE), 1].mean()) - 2)
    return 1 - (1 - np.float32(_MOVING)) * moving, above * (1 - np.maximum.reduce([brows, eyes, edge, nose]))


def _typical(lab: FloatArray, home: FloatArray) -> FloatArray:
    """The skin's colour (3,), so that light on the whole face does not count."""
    spots = np.round(home[list(_SKIN)]).astype(int)
    return np.median(lab[spots[:, 1], spots[:, 0]], axis=0).astype(np.float32)


def _strange(colour: FloatArray, seen: FloatArray) -> FloatArray:
    """(SIDE, SIDE): dark lines, and dark areas, where skin is expected."""
    light = colour[..., 0]
    around = cv2.GaussianBlur(light * seen, (0, 0), 7) / np.maximum(cv2.GaussianBlur(seen, (0, 0), 7), 1e-3)
    thin = smooth_step((around - light).astype(np.float32), *_THIN)
    dark = smooth_step(-light.astype(np.float32), *_DARK)
    return np.maximum(thin, dark)
