"""SCRFD: faces and their five landmarks, through insightface's own reader of the network."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import NotConfigured
from models.faceswap.arc.sessions import options, providers
from models.faceswap.engine import Face
from models.task import Image

SIDE = 640  # the network sees frames letterboxed into a square of this many pixels
THRESHOLD = 0.5
_CLOSE_UP = (128, 128)  # at this size a face that fills the picture is one that the network knows


class Scrfd:
    """Finds faces, frame by frame. Thread-safe."""

    detect_every = 4  # following a face costs a hundredth of finding it

    def __init__(self, path: Path, device: str, threshold: float = THRESHOLD) -> None:
        from insightface.model_zoo import get_model, scrfd

        with contextlib.redirect_stdout(io.StringIO()):  # insightface prints while it loads
            # One session for all sizes: it would build another for each size it meets.
            network: Any = get_model(str(path), providers=providers(device), sess_options=options(), static_shape_sessions=False)
        if not isinstance(network, scrfd.SCRFD):
            raise NotConfigured(f"{path.name} is not a SCRFD detector: insightface reads it as {type(network).__name__}")
        network.prepare(0, det_thresh=threshold, input_size=(SIDE, SIDE))
        self._network: Any = network

    def detect(self, frames: NDArray[np.uint8]) -> list[list[Face]]:
        """Faces of each frame of (N, H, W, 3) RGB, largest first."""
        return [self._detect(frame, (SIDE, SIDE)) for frame in frames]

    def detect_portrait(self, image: Image) -> list[Face]:
        """Faces of one picture, close-ups included, largest first."""
        return self._detect(image, [_CLOSE_UP, (SIDE, SIDE)])

    def _detect(self, frame: Image, sizes: Any) -> list[Face]:
        boxes, points = self._network.detect(np.ascontiguousarray(frame[..., ::-1]), input_size=sizes)
        return largest_first(boxes, points)


def largest_first(boxes: NDArray[np.float32], points: NDArray[np.float32]) -> list[Face]:
    """Faces from boxes (K, 5) with the score last, and points (K, 5, 2)."""
    faces = [Face(box[:4].astype(np.float32), five.astype(np.float32), float(box[4])) for box, five in zip(boxes, points, strict=True)]
    return sorted(faces, key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))
