"""Rigid fits between landmark sets, and the smooth steps that masks are made of."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]  # float32 in practice; the checker loses track of that in arithmetic


@dataclass(frozen=True, slots=True)
class Rigid:
    """Turn, scale and move: p -> scale * rotation @ p + shift. rotation (3, 3), shift (3,)."""

    rotation: FloatArray
    scale: float
    shift: FloatArray

    def apply(self, points: FloatArray) -> FloatArray:
        """Moved points (K, 3)."""
        return (points @ self.rotation.T * np.float32(self.scale) + self.shift).astype(np.float32)

    @property
    def tilt_deg(self) -> float:
        """Degrees between the two directions of view; turning in the picture's plane does not count."""
        return float(np.degrees(np.arccos(np.clip(self.rotation[2, 2], -1, 1))))

    @property
    def angle_deg(self) -> float:
        """Degrees of the whole rotation."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.rotation) - 1) / 2, -1, 1))))


def fit_rigid(moving: FloatArray, fixed: FloatArray, weights: FloatArray) -> Rigid:
    """The Rigid that brings `moving` (K, 3) nearest to `fixed` (K, 3) in weighted least squares (Umeyama 1991)."""
    share = (weights / weights.sum())[:, None]
    centre_moving, centre_fixed = (moving * share).sum(axis=0), (fixed * share).sum(axis=0)
    a, b = moving - centre_moving, fixed - centre_fixed
    u, strengths, vt = np.linalg.svd((b * share).T @ a)
    sign = np.array([1, 1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * sign) @ vt
    scale = float((strengths * sign).sum() / (a * a * share).sum())
    shift = centre_fixed - scale * rotation @ centre_moving
    return Rigid(rotation.astype(np.float32), scale, shift.astype(np.float32))


def smooth_step(values: FloatArray, start: float, end: float) -> FloatArray:
    """0 up to `start`, 1 from `end` on, an S-curve between; `start` may lie above `end`."""
    t = np.clip((values - np.float32(start)) / np.float32(end - start), 0, 1)
    return t * t * (3 - 2 * t)


def to_loop(points: FloatArray, loop: NDArray[np.intp]) -> FloatArray:
    """Distance (K,) of each point to the nearest corner of a loop of landmarks."""
    return np.linalg.norm(points[:, None] - points[None, loop], axis=-1).min(axis=1).astype(np.float32)


def face_width(landmarks: FloatArray) -> float:
    """Distance in space between the two edges of the face at the height of the ears, in pixels."""
    return float(np.linalg.norm(landmarks[234] - landmarks[454]))


def turn_deg(landmarks: FloatArray) -> float:
    """Degrees by which a face's landmarks (468, 3) are turned to the left or right of the viewer."""
    across = landmarks[454] - landmarks[234]
    return float(abs(np.degrees(np.arctan2(across[2], np.linalg.norm(across[:2])))))
