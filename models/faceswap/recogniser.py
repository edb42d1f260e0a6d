"""Tells people apart: dlib's face recognition network (King 2017), as bundled."""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.faceswap import bundled
from models.faceswap.mesh import Region
from models.task import Image

INPUT_SIDE = 150
# Between embeddings of one person in one clip 0.37 at most, of different people 0.48 at least, 0.76 on average; dlib's own 0.6 is too lax
# for generated faces, which resemble each other.
SAME_PERSON = 0.5
_TIGHT = 1 / 1.5  # the face's own square, of the region that the mesh reads


class Recogniser:
    """The network. Thread-safe."""

    def __init__(self) -> None:
        self._session = bundled.session("recogniser")

    def embed(self, frames: NDArray[np.uint8], landmarks: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Embeddings (N, 128) of one face a frame: `frames` (N, H, W, 3), `landmarks` (468, 3) each. Their distance tells people apart."""
        crops = [_crop(frame, points) for frame, points in zip(frames, landmarks, strict=True)]
        return self._session.run(["embedding"], {"image": np.stack(crops).astype(np.float32)})[0]


def _crop(frame: Image, landmarks: NDArray[np.float32]) -> Image:
    """The face, upright, and no more: hair and clothes change."""
    region = Region.of_landmarks(landmarks)
    side = region.side * _TIGHT
    factor = min(4, max(1, round(side / INPUT_SIDE)))
    size = INPUT_SIDE * factor
    matrix = Region(region.centre, side, region.angle).matrix(size)
    crop = cv2.warpAffine(frame, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    if factor > 1:
        crop = cv2.resize(crop, (INPUT_SIDE, INPUT_SIDE), interpolation=cv2.INTER_AREA)
    return crop.astype(np.uint8, copy=False)
