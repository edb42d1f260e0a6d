"""468 landmarks of a face in a region of interest: MediaPipe's face mesh (Kartynnik et al. 2019)."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.faceswap import bundled
from models.faceswap.detector import Detection
from models.task import Image

INPUT_SIDE = 192
LANDMARKS = 468
_MARGIN = 1.5  # side of the region over that of the face, as the network was trained
_EYES = (33, 263)  # outer corners of the person's right and left eye
_SHARPNESS = 1.5  # frame pixels an input pixel above which the crop is averaged down instead of sampled


@dataclass(frozen=True, slots=True)
class Region:
    """A square in a frame that stands upright with the face: centre and side in pixels, angle in radians, clockwise."""

    centre: tuple[float, float]
    side: float
    angle: float

    @classmethod
    def of_detection(cls, face: Detection) -> "Region":
        """Around a detector's box, level with the eyes."""
        left, top, right, bottom = (float(value) for value in face.box)
        side = _MARGIN * max(right - left, bottom - top)
        return cls(((left + right) / 2, (top + bottom) / 2), side, _angle(face.points[0], face.points[1]))

    @classmethod
    def of_landmarks(cls, landmarks: NDArray[np.float32]) -> "Region":
        """Around the landmarks of the frame before: where the face will be now."""
        angle = _angle(landmarks[_EYES[0], :2], landmarks[_EYES[1], :2])
        turn = _turn(angle)
        upright = landmarks[:, :2] @ turn  # rotated by -angle
        low, high = upright.min(axis=0), upright.max(axis=0)
        x, y = turn @ ((low + high) / 2)
        return cls((float(x), float(y)), _MARGIN * float((high - low).max()), angle)

    def matrix(self, side: int) -> NDArray[np.float32]:
        """Affine (2, 3) from pixels of a crop of `side` to pixels of the frame."""
        linear = _turn(self.angle) * np.float32(self.side / side)
        corner = np.array(self.centre, np.float32) - linear @ np.full(2, (side - 1) / 2, np.float32)
        return np.column_stack([linear, corner]).astype(np.float32)


class Mesh:
    """The network. Thread-safe."""

    def __init__(self) -> None:
        self._session = bundled.session("mesh")

    def read(self, frame: Image, region: Region) -> tuple[NDArray[np.float32], float]:
        """Landmarks (468, 3) and the score 0..1 that it is a face. x, y in pixels of `frame`; depth in the same unit, smaller is nearer."""
        crop = _crop(frame, region)
        values, logit = self._session.run(["landmarks", "score"], {"image": (crop * np.float32(1 / 255))[None]})
        points = values.reshape(LANDMARKS, 3)
        matrix = region.matrix(INPUT_SIDE)
        landmarks = np.empty_like(points)
        landmarks[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        landmarks[:, 2] = points[:, 2] * (region.side / INPUT_SIDE)
        return landmarks, float(1 / (1 + np.exp(-np.clip(logit[0, 0], -50, 50))))


def _crop(frame: Image, region: Region) -> Image:
    """The region as the network's input; averaged down where it is much larger, or fine texture would shake the landmarks."""
    factor = min(4, max(1, round(region.side / INPUT_SIDE / _SHARPNESS)))
    side = INPUT_SIDE * factor
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(frame, region.matrix(side), (side, side), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    if factor > 1:
        crop = cv2.resize(crop, (INPUT_SIDE, INPUT_SIDE), interpolation=cv2.INTER_AREA)
    return crop.astype(np.uint8, copy=False)


def _angle(right_eye: NDArray[np.float32], left_eye: NDArray[np.float32]) -> float:
    x, y = left_eye - right_eye
    return float(np.arctan2(y, x))


def _turn(angle: float) -> NDArray[np.float32]:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]], np.float32)
