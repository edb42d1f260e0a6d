"""ArcFace: the identity in a face, as a vector; through insightface's own reader of the network."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import NotConfigured
from models.faceswap.arc.align import similarity
from models.faceswap.arc.region import cut
from models.faceswap.arc.sessions import options, providers

_SIZE = 112


class ArcFace:
    """Reads identities. Thread-safe."""

    def __init__(self, path: Path, device: str) -> None:
        from insightface.model_zoo import arcface_onnx, get_model

        with contextlib.redirect_stdout(io.StringIO()):  # insightface prints while it loads
            network = get_model(str(path), providers=providers(device), sess_options=options())
        if not isinstance(network, arcface_onnx.ArcFaceONNX):
            raise NotConfigured(f"{path.name} is not an ArcFace network: insightface reads it as {type(network).__name__}")
        self._network: Any = network

    def embed(self, frames: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeddings (N, 512), not normalised, of one face a frame: `frames` (N, H, W, 3) RGB, `landmarks` (N, 5, 2)."""
        crops = [cut(frame, crop, _SIZE)[..., ::-1] for frame, crop in zip(frames, similarity(landmarks, _SIZE), strict=True)]
        return self._network.get_feat(crops)
