"""Draws the face mesh into a coarse grid of triangle numbers, and turns those into coordinate maps for `cv2.remap`.

A piecewise affine warp is smooth but for small kinks at the triangles' edges, so it is worked out on a grid of about 128 cells across the
face and stretched to pixels: a quarter to a ninth of the work.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.faceswap import bundled
from models.faceswap.geometry import FloatArray

CELLS = 128  # grid cells across a face
_FRACTION = 4  # bits after the point in the raster's coordinates


@cache
def triangles() -> NDArray[np.intp]:
    """(898, 3): the published mesh, then 46 triangles that close the mouth and the eyes."""
    strips = [_strip(bundled.topology("mouth"), 78), _strip(bundled.topology("right_eye"), 33), _strip(bundled.topology("left_eye"), 263)]
    return np.concatenate([bundled.topology("triangles"), *strips])


def _strip(loop: NDArray[np.intp], corner: int) -> NDArray[np.intp]:
    """Triangles between the two lips, or lids, of a rim that starts in one of its corners."""
    start = int(np.flatnonzero(loop == corner)[0])
    around = np.roll(loop, -start)
    one, other = around[: len(loop) // 2 + 1], np.roll(around, -1)[::-1][: len(loop) // 2 + 1]
    pairs = zip(one, one[1:], other, other[1:], strict=False)
    faces = [face for a, b, p, q in pairs for face in ((a, b, q), (a, q, p)) if len(set(face)) == 3]
    return np.array(faces, np.intp)


@dataclass(frozen=True, slots=True)
class Canvas:
    """A rectangle of a frame divided into square cells of `cell` pixels; may reach over the frame's right and lower edges."""

    left: int
    top: int
    cell: int
    columns: int
    rows: int

    @classmethod
    def around(cls, points: FloatArray, width: float, frame: tuple[int, int]) -> "Canvas | None":
        """Around landmarks (K, 2) of a face of `width` in a frame of (height, width) pixels; None when none of it is in the frame."""
        cell = max(1, round(width / CELLS))
        low = np.maximum(np.floor(points.min(axis=0)).astype(int) - cell, 0)
        high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + cell, (frame[1], frame[0]))
        size = high - low
        if (size < 2).any():
            return None
        return cls(int(low[0]), int(low[1]), cell, -(-int(size[0]) // cell), -(-int(size[1]) // cell))

    def to_cells(self, points: FloatArray) -> FloatArray:
        """Pixels of the frame (K, 2) as cells; whole numbers are centres in both."""
        corner = np.array([self.left, self.top], np.float32)
        return (points - corner + np.float32(0.5)) / np.float32(self.cell) - np.float32(0.5)

    def cut(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The canvas' pixels; the frame's last row and column are repeated where it ends early."""
        height, width = self.rows * self.cell, self.columns * self.cell
        part = frame[self.top : self.top + height, self.left : self.left + width]
        missing = (height - part.shape[0], width - part.shape[1])
        if any(missing):
            return cv2.copyMakeBorder(part, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)
        return np.ascontiguousarray(part)

    def stretch(self, grid: FloatArray) -> FloatArray:
        """A grid (rows, columns, …) as pixels."""
        if self.cell == 1:
            return grid
        size = (grid.shape[1] * self.cell, grid.shape[0] * self.cell)
        return cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR).astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class Raster:
    """A mesh drawn on a canvas' grid.

    numbers: int32 (rows, columns), the triangle over each cell's centre; one past the last where there is none.
    corners: float32 (898, 3, 2), the triangles in cells.
    """

    canvas: Canvas
    numbers: NDArray[np.int32]
    corners: FloatArray

    def toward(self, points: FloatArray) -> FloatArray:
        """(899, 6): the affine map of each triangle from cells to `points` (468, 2), landmarks elsewhere; last the best one for all."""
        return _affines(self.corners, points[triangles()])

    def map_by(self, affine: FloatArray, part: tuple[slice, slice] = np.s_[:, :]) -> FloatArray:
        """Coordinates (rows, columns, 2) that the result of `toward` gives each cell in `part` of the grid."""
        rows, columns = self.numbers.shape
        x = np.arange(columns, dtype=np.float32)[part[1]]
        y = np.arange(rows, dtype=np.float32)[part[0], None]
        own = affine[self.numbers[part]]  # (rows, columns, 6)
        both = np.empty((*own.shape[:2], 2), np.float32)
        both[..., 0] = own[..., 0] * x + own[..., 1] * y + own[..., 2]
        both[..., 1] = own[..., 3] * x + own[..., 4] * y + own[..., 5]
        return both

    def spread(self, values: FloatArray) -> FloatArray:
        """One value a triangle (898,) over the grid; 0 where there is none."""
        return np.append(values, np.float32(0)).astype(np.float32)[self.numbers]


def draw(points: FloatArray, depth: FloatArray, canvas: Canvas) -> Raster:
    """Draw the mesh with landmarks `points` (468, 2), pixels of the frame, nearer ones (smaller `depth`) over farther ones.

    Triangles that show their back are left out.
    """
    faces = triangles()
    corners = canvas.to_cells(points)[faces]
    order = np.argsort(-depth[faces].mean(axis=1))
    order = order[_doubled_areas(corners)[order] < 0]
    numbers = np.full((canvas.rows, canvas.columns), len(faces), np.int32)
    fixed = np.round(corners * (1 << _FRACTION)).astype(np.int32)
    for number in order.tolist():
        cv2.fillConvexPoly(numbers, fixed[number], number, cv2.LINE_8, _FRACTION)
    return Raster(canvas, numbers, corners)


def facing(landmarks: FloatArray) -> FloatArray:
    """(898,): how far each triangle of a face (468, 3) is turned toward the viewer, 0 (edge on or away) to 1."""
    a, b, c = (landmarks[triangles()[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    return np.clip(-normals[:, 2] / np.maximum(np.linalg.norm(normals, axis=1), 1e-6), 0, 1).astype(np.float32)


def warp(pixels: NDArray[np.uint8], where: FloatArray) -> NDArray[np.uint8]:
    """Pixels sampled at `where` (rows, columns, 2), their edge repeated outside."""
    # The stubs lack the form with one map of two channels.
    warped = cv2.remap(pixels, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return warped.astype(np.uint8, copy=False)


def _doubled_areas(corners: FloatArray) -> FloatArray:
    """Twice the signed areas (n,) of triangles (n, 3, 2); negative for those of the mesh that face the viewer."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def _affines(corners: FloatArray, targets: FloatArray) -> FloatArray:
    """(n + 1, 6): for each triangle the affine map to its target; last and for degenerate triangles, the best one for all corners."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    p, q, r = targets[:, 0], targets[:, 1], targets[:, 2]
    area = _doubled_areas(corners)
    usable = np.abs(area) > 1e-3
    scale = np.where(usable, 1 / np.where(usable, area, 1), 0).astype(np.float32)[:, None]
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    du, dv = q - p, r - p
    along_x = (du * vy[:, None] - dv * uy[:, None]) * scale  # (n, 2): change of the target's x and y a cell to the right
    along_y = (dv * ux[:, None] - du * vx[:, None]) * scale
    start = p - along_x * a[:, :1] - along_y * a[:, 1:]
    affine = np.empty((len(corners) + 1, 6), np.float32)
    affine[:-1, 0::3], affine[:-1, 1::3], affine[:-1, 2::3] = along_x, along_y, start
    design = np.column_stack([corners.reshape(-1, 2), np.ones(len(corners) * 3, np.float32)])
    whole = np.linalg.lstsq(design[::7], targets.reshape(-1, 2)[::7], rcond=None)[0]  # (3, 2)
    affine[-1] = whole.T.ravel()
    affine[:-1][~usable] = affine[-1]
    return affine
