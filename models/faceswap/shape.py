"""How far each landmark of a target moves toward the source's shape: where the new face's features go."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.faceswap import bundled
from models.faceswap.geometry import FloatArray, Rigid, face_width, fit_rigid, smooth_step, to_loop

# Of the difference between the two shapes; the rest stays the target's.
_STRENGTH = 0.9
_MOUTH_STRENGTH = 0.35  # mostly expression, which is the target's to keep
_UNDER_NOSE = np.array([2, 97, 326, 164])  # moves with the skull, whatever the mouth does
_FOLDS = np.array([129, 203, 206, 216, 212, 202, 358, 423, 426, 436, 432, 422])
_LIPS = np.array([61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146])
_MOUTH_CORNERS = [61, 291]
_EYE_CORNERS = ((33, 133), (263, 362))


@dataclass(frozen=True, slots=True)
class Zones:
    """How much each landmark (468,) belongs to a part of the face, 0..1.

    inner: away from the oval; the oval itself never moves, so nothing outside of the face has to.
    mouth: the lips and, fading, what they move. eyes: the lids and what surrounds them, right then left.
    folds: the creases from the nose past the mouth, which a smile cuts. rigid: weight in rigid fits: what expression hardly moves.
    """

    inner: FloatArray
    mouth: FloatArray
    eyes: tuple[FloatArray, FloatArray]
    folds: FloatArray
    rigid: FloatArray

    @classmethod
    def of(cls, landmarks: FloatArray) -> "Zones":
        """From any face's landmarks (468, 3)."""
        unit = landmarks / np.float32(face_width(landmarks))
        from_mouth = to_loop(unit, bundled.topology("mouth"))
        eyes = tuple(smooth_step(to_loop(unit, bundled.topology(name)), 0.13, 0.05) for name in ("right_eye", "left_eye"))
        from_eyes = np.minimum(*(to_loop(unit, bundled.topology(name)) for name in ("right_eye", "left_eye")))
        below = unit[:, 1] > unit[_UNDER_NOSE, 1].mean()
        moved = np.where(below, smooth_step(from_mouth, 0.5, 0.3), smooth_step(from_mouth, 0.2, 0.08))
        return cls(
            inner=smooth_step(to_loop(unit, bundled.topology("oval")), 0.0, 0.14),
            mouth=np.where(below, smooth_step(from_mouth, 0.38, 0.16), smooth_step(from_mouth, 0.16, 0.06)).astype(np.float32),
            eyes=(eyes[0], eyes[1]),
            folds=smooth_step(to_loop(unit, _FOLDS), 0.13, 0.05) * smooth_step(to_loop(unit, _LIPS), 0.02, 0.05),
            rigid=(0.02 + (1 - moved) * smooth_step(from_eyes, 0.0, 0.06)).astype(np.float32),
        )


def reshape(target: FloatArray, source: FloatArray, zones: Zones) -> tuple[FloatArray, Rigid]:
    """Where the target's landmarks (468, 3) go, (468, 2) pixels, and the pose that brings the source's (468, 3) onto them.

    Eyes move and grow as a whole and the mouth moves as one with the nose, so both keep the target's opening.
    """
    pose = fit_rigid(source, target, zones.rigid)
    placed = pose.apply(source)
    change = (placed - target)[:, :2]
    carried = change[_UNDER_NOSE].mean(axis=0)
    change = _mix(change, carried + np.float32(_MOUTH_STRENGTH) * (change - carried), zones.mouth)
    for corners, weight in zip(_EYE_CORNERS, zones.eyes, strict=True):
        change = _mix(change, _as_one(target, placed, corners), weight)
    return target[:, :2] + np.float32(_STRENGTH) * zones.inner[:, None] * change, pose


def smile_gap(target: FloatArray, source: FloatArray) -> float:
    """How differently wide the two mouths are drawn, in face widths."""
    widths = [float(np.linalg.norm(np.subtract(*face[_MOUTH_CORNERS]))) / face_width(face) for face in (target, source)]
    return abs(widths[0] - widths[1])


def _as_one(target: FloatArray, placed: FloatArray, corners: tuple[int, int]) -> FloatArray:
    """The change (468, 2) of an eye that moves and grows without changing its form, as its two corners ask."""
    ends = list(corners)
    here, there = target[ends, :2], placed[ends, :2]
    grown = np.linalg.norm(there[1] - there[0]) / max(float(np.linalg.norm(here[1] - here[0])), 1e-3)
    growth = np.float32(np.clip(grown, 0.8, 1.25) - 1)
    return there.mean(axis=0) - here.mean(axis=0) + growth * (target[:, :2] - here.mean(axis=0))


def _mix(one: FloatArray, other: FloatArray, weight: NDArray[np.float32]) -> FloatArray:
    return one + weight[:, None] * (other - one)
