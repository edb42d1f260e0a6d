"""Restoring painted faces: a network sharpens an aligned crop, and what it adds is steadied over time before it is laid back.

The networks are others' (`gfpgan/`); here is what they share. Detail that a restorer invents differs from frame to frame, which flickers;
so only the difference it makes is kept, follows the face in its own square, and changes slowly where the face itself hardly changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import WeightsMissing
from models.faceswap.arc.align import similarity_to
from models.faceswap.engine import Face, Patch
from models.faceswap.geometry import FloatArray, smooth_step
from models.faceswap.landmarks import five_points
from models.faceswap.paste import paste
from models.task import Image

Crops = NDArray[np.uint8]  # (N, S, S, 3)

# The five points in FFHQ's aligned square (Karras et al. 2019), as shares of its side: left eye, right eye, nose, mouth corners.
_FFHQ = np.array(
    [[0.37691676, 0.46864664], [0.62285697, 0.46912813], [0.50123859, 0.61331904], [0.39308822, 0.72541100], [0.61150205, 0.72490465]]
)
_KEPT = 0.7  # of the detail of the frame before, where the face has not changed
_CHANGED = (4.0, 20.0)  # difference of two crops, 0..255, from which less is kept, from which nothing is
_EDGE = 0.09  # of the crop's side, over which the restored face fades out


class Restorer(Protocol):
    """Sharpens faces. Thread-safe.

    name: what replies call it. side: of the crops that it takes, in pixels.
    """

    name: str
    side: int

    def restore(self, crops: Crops) -> Crops:
        """Restored crops (N, side, side, 3), RGB, of faces aligned as in FFHQ."""
        ...


def chosen(wanted: bool | None, restorer: Restorer | None) -> Restorer | None:
    """The restorer to use: `wanted` True needs one, None takes one that is there, False none. Raises WeightsMissing."""
    if wanted and restorer is None:
        raise WeightsMissing(
            "restore_face needs a face restorer and none is installed on this server (GFPGAN's weights, see docs/faces.md); "
            "leave it out or send false"
        )
    return None if wanted is False else restorer


@dataclass(frozen=True, slots=True)
class Restored:
    """One face of one frame, restored: its track, what was painted, where the crop lies (2, 3), frame to crop, and it before and after."""

    track: int
    patch: Patch
    matrix: NDArray[np.float64]
    before: Image
    after: Image


def restored(restorer: Restorer, frame: Image, faces: Sequence[tuple[int, Face, Patch]]) -> list[Restored]:
    """Faces of one painted frame, each with its track and what was painted over it, restored in one batch."""
    if not faces:
        return []
    matrices = similarity_to(np.stack([five_points(face) for _, face, _ in faces]), _FFHQ * restorer.side)
    size = (restorer.side, restorer.side)
    crops = np.stack([cv2.warpAffine(frame, matrix, size, borderMode=cv2.BORDER_REFLECT) for matrix in matrices]).astype(np.uint8)
    return [
        Restored(track, patch, matrix, before, after)
        for (track, _, patch), matrix, before, after in zip(faces, matrices, crops, restorer.restore(crops), strict=True)
    ]


class Steadying:
    """The detail of each track from frame to frame; frames come in order."""

    def __init__(self, visibility: float) -> None:
        """visibility: how much of the detail is laid over, 0..1."""
        self._visibility = visibility
        self._last: dict[int, tuple[Image, FloatArray]] = {}

    def lay(self, frame: Image, faces: Sequence[Restored]) -> None:
        """Put the restored faces into `frame`, in place."""
        last, self._last = self._last, {}
        for one in faces:
            detail = one.after.astype(np.float32) - one.before
            if one.track in last:
                before, kept = last[one.track]
                change = np.abs(one.before.astype(np.float32) - before).mean(axis=2)
                change = cv2.GaussianBlur(change, (0, 0), one.before.shape[0] / 64).astype(np.float32)
                weight = np.float32(_KEPT) * smooth_step(change, _CHANGED[1], _CHANGED[0])[..., None]
                detail = detail + weight * (kept - detail)
            self._last[one.track] = (one.before, detail)
            pixels = np.clip(one.before + np.float32(self._visibility) * detail + np.float32(0.5), 0, 255).astype(np.uint8)
            _lay(frame, pixels, one)


def _lay(frame: Image, crop: Image, one: Restored) -> None:
    """Where the face was painted, and as far as it was."""
    patch = one.patch
    here = one.matrix.copy()
    here[:, 2] += one.matrix[:, :2] @ (patch.left, patch.top)
    size, flags = (patch.alpha.shape[1], patch.alpha.shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    pixels = cv2.warpAffine(crop, here, size, flags=flags, borderMode=cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)
    alpha = cv2.warpAffine(_square(crop.shape[0]), here, size, flags=flags).astype(np.float32, copy=False)
    paste(frame, Patch(patch.top, patch.left, pixels, alpha * patch.alpha))


@cache
def _square(side: int) -> NDArray[np.float32]:
    """(side, side): 1 inside, falling to 0 toward the edges."""
    at = np.arange(side, dtype=np.float32) + np.float32(0.5)
    ramp = smooth_step(np.minimum(at, side - at), 0.0, _EDGE * side)
    mask = np.outer(ramp, ramp).astype(np.float32)
    mask.setflags(write=False)
    return mask
