"""Finds faces in whole frames: MediaPipe's full-range detector (BlazeFace family; Bazarevsky et al. 2019), batched."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.faceswap import bundled
from models.faceswap.geometry import FloatArray

INPUT_SIDE = 192
_GRID = 48  # one anchor a cell of 4 x 4 pixels
_OVERLAP = 0.3  # boxes of one face overlap at least this much (intersection over union)


@dataclass(frozen=True, slots=True)
class Detection:
    """A face as the detector sees it.

    box: float32 (4,), left, top, right, bottom in pixels.
    points: float32 (6, 2), pixels: the person's right eye, left eye, nose, mouth, right ear, left ear.
    score: 0..1.
    """

    box: NDArray[np.float32]
    points: NDArray[np.float32]
    score: float

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


class Detector:
    """The network, its letterbox and its non-maximum suppression. Thread-safe."""

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold
        self._session = bundled.session("detector")
        centres = (np.arange(_GRID, dtype=np.float32) + 0.5) / _GRID
        x, y = np.meshgrid(centres, centres)
        self._anchors = np.stack([x.ravel(), y.ravel()], axis=-1)  # (2304, 2)

    def detect(self, frames: NDArray[np.uint8]) -> list[list[Detection]]:
        """Faces of each frame of (N, H, W, 3), largest first."""
        height, width = frames.shape[1:3]
        scale = INPUT_SIDE / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        left, top = (INPUT_SIDE - size[0]) // 2, (INPUT_SIDE - size[1]) // 2
        step = max(1, max(height, width) // (3 * INPUT_SIDE))  # three pixels a side go into each of the small ones; more only cost time
        batch = np.full((len(frames), INPUT_SIDE, INPUT_SIDE, 3), -1, np.float32)
        for row, frame in zip(batch, frames, strict=True):
            small = cv2.resize(np.ascontiguousarray(frame[::step, ::step]), size, interpolation=cv2.INTER_AREA)
            row[top : top + size[1], left : left + size[0]] = small * np.float32(2 / 255) - 1
        boxes, logits = self._session.run(["boxes", "scores"], {"image": batch})
        # From letterboxed pixels to the frame's.
        stretch = np.array([width / size[0], height / size[1]], np.float32)
        offset = np.array([left, top], np.float32)
        return [self._decode(*pair, offset, stretch) for pair in zip(boxes, logits[..., 0], strict=True)]

    def _decode(
        self, values: NDArray[np.float32], logits: NDArray[np.float32], offset: NDArray[np.float32], stretch: NDArray[np.float32]
    ) -> list[Detection]:
        scores = 1 / (1 + np.exp(-np.clip(logits, -100, 100)))
        rows = np.flatnonzero(scores >= self.threshold)
        if not len(rows):
            return []
        points = values[rows].reshape(-1, 8, 2)  # box centre, box size, six points; pixels of the letterboxed input
        points[:, 0] += self._anchors[rows] * INPUT_SIDE
        points[:, 2:] += self._anchors[rows, None] * INPUT_SIDE
        centre, half = points[:, 0], points[:, 1] / 2
        corners = np.stack([centre - half, centre + half, *points[:, 2:].swapaxes(0, 1)], axis=1)  # (n, 8, 2)
        return _suppress((corners - offset) * stretch, scores[rows])


def _suppress(corners: FloatArray, scores: FloatArray) -> list[Detection]:
    """One detection a face: the mean of its overlapping boxes, weighted by score (steadier in time than the best box alone)."""
    found: list[Detection] = []
    left = np.argsort(-scores)
    while len(left):
        best = left[0]
        near = _overlap(corners[best, :2].reshape(4), corners[left, :2].reshape(-1, 4)) >= _OVERLAP
        near[0] = True
        group = left[near]
        mean = np.average(corners[group], axis=0, weights=scores[group]).astype(np.float32)
        found.append(Detection(mean[:2].reshape(4), mean[2:], float(scores[best])))
        left = left[~near]
    return sorted(found, key=lambda face: face.area, reverse=True)


def _overlap(box: FloatArray, boxes: FloatArray) -> FloatArray:
    """Intersection over union (n,) of one box (4,) with each of `boxes` (n, 4)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return shared / np.maximum(np.prod(box[2:] - box[:2]) + areas - shared, 1e-6)
