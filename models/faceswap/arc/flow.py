"""Following a face into the next frame by the motion of its five landmarks, without a network.

Lucas-Kanade optical flow forth and back (Kalal et al., "Forward-Backward Error", ICPR 2010), in a small grey view of the face's
surroundings. The view travels with the face, so nothing is kept between calls.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.faceswap.arc.align import apply, similarity
from models.faceswap.engine import Face
from models.task import Image

_VIEW = 160  # longest side of a view, pixels: a face fills half of it, which is sharp enough for flow
_MARGIN = 0.5  # of the box, on each side: how far a face may move between two frames
_RETURN = 0.02  # of the view: how near a point must come back to where it started
_SHAPE = 0.12  # of the crop: how far the landmarks may bend away from a turned and scaled copy of themselves
_SCALE = (0.85, 1.18)  # growth of a face between two frames


@dataclass(frozen=True, slots=True)
class View:
    """Grey pixels (h, w) of the part of a frame that begins at (left, top); `scale` view pixels a frame pixel."""

    grey: NDArray[np.uint8]
    left: int
    top: int
    right: int
    bottom: int
    scale: float


@dataclass(frozen=True, slots=True)
class SeenFace(Face):
    """A face with the view of the frame it was found in, from which it can be followed."""

    view: View


def seen(frame: Image, face: Face) -> Face:
    """`face` of `frame`, ready to be followed; unchanged when its box lies outside the frame."""
    height, width = frame.shape[:2]
    margin = (face.box[2:] - face.box[:2]) * _MARGIN
    left, top = np.maximum(np.floor(face.box[:2] - margin), 0).astype(int)
    right, bottom = np.minimum(np.ceil(face.box[2:] + margin), (width, height)).astype(int)
    if right - left < 8 or bottom - top < 8:
        return face
    scale = min(1.0, _VIEW / max(right - left, bottom - top))
    view = _look(frame, View(np.empty(0, np.uint8), int(left), int(top), int(right), int(bottom), scale))
    return SeenFace(face.box, face.landmarks, face.score, view)


def follow(frame: Image, last: Face) -> Face | None:
    """The face `last` of the previous frame in this one; None when it was lost, or `last` has no view."""
    if not isinstance(last, SeenFace):
        return None
    now = _look(frame, last.view)
    if now.grey.shape != last.view.grey.shape:
        return None  # the frame has another size
    origin = np.array([last.view.left, last.view.top])
    start = ((last.landmarks[:, :2] - origin) * last.view.scale).astype(np.float32)
    moved = _flow(last.view.grey, now.grey, start)
    if moved is None:
        return None
    landmarks = (moved / last.view.scale + origin).astype(np.float32)
    box = _moved_box(last, landmarks)
    return None if box is None else seen(frame, Face(box, landmarks, last.score))


def _look(frame: Image, view: View) -> View:
    import cv2

    grey = cv2.cvtColor(frame[view.top : view.bottom, view.left : view.right], cv2.COLOR_RGB2GRAY)
    if view.scale < 1.0:
        grey = cv2.resize(grey, None, fx=view.scale, fy=view.scale, interpolation=cv2.INTER_AREA)
    return replace(view, grey=grey)


def _flow(before: NDArray[np.uint8], after: NDArray[np.uint8], start: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Where the points `start` (5, 2) went; None if any of them does not come back."""
    import cv2

    window = (max(before.shape) // 8 | 1,) * 2
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, winSize=window, maxLevel=3)  # pyright: ignore[reportCallIssue, reportArgumentType]
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, winSize=window, maxLevel=3)  # pyright: ignore[reportCallIssue, reportArgumentType]
    missed = np.linalg.norm(back - start, axis=1).max()
    if not found.all() or not returned.all() or missed > _RETURN * max(before.shape):
        return None
    return there


def _moved_box(last: Face, landmarks: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The box moved as the landmarks moved; None if that was no plausible motion of a face."""
    pair = np.stack([last.landmarks[:, :2], landmarks])
    crops = similarity(pair, 128)
    scales = np.hypot(crops[:, 0, 0], crops[:, 1, 0])
    growth = scales[0] / max(float(scales[1]), 1e-9)
    before, after = apply(crops, pair)
    if not _SCALE[0] < growth < _SCALE[1] or np.abs(after - before).max() > _SHAPE * 128:
        return None
    middle, half = (last.box[:2] + last.box[2:]) / 2, (last.box[2:] - last.box[:2]) / 2
    shift = landmarks.mean(axis=0) - last.landmarks[:, :2].mean(axis=0)
    return np.concatenate([middle + shift - half * growth, middle + shift + half * growth]).astype(np.float32)
