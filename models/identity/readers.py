"""Who reads faces: insightface's antelopev2 where its weights are installed, else the embedded engine's detector."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import NoFaceFound, WeightsMissing
from models.faceswap.engine import Engine
from models.faceswap.landmarks import five_points
from models.identity.alignment import ARCFACE_112, align
from models.identity.face_input import FaceFeatures, FaceReader, head_crop
from models.task import Image
from models.weights import Loading

_NONE_FOUND = "no face was found in the reference picture; use one that shows a single face from the front, at least 100 pixels wide"


def reader_for(loading: Loading) -> FaceReader:
    """The reader that fits the installed weights; the role "antelopev2" is that pack's folder."""
    folder = loading.files.get("antelopev2")
    return AntelopeReader(folder, loading.device) if folder is not None else EmbeddedReader()


class AntelopeReader:
    """insightface's antelopev2 pack, whose embeddings InstantID and PuLID were trained on. For licence holders; see `models.faceswap`."""

    name = "antelopev2"

    def __init__(self, folder: Path, device: str) -> None:
        from models.faceswap.arc.arcface import ArcFace
        from models.faceswap.arc.scrfd import Scrfd

        detector, recogniser = folder / "scrfd_10g_bnkps.onnx", folder / "glintr100.onnx"
        for file in (detector, recogniser):
            if not file.exists():
                raise WeightsMissing(f"{file.name} of the antelopev2 pack is not in {folder.name}")
        self._detector = Scrfd(detector, device)
        self._recogniser = ArcFace(recogniser, device)

    def read(self, image: Image) -> FaceFeatures:
        """The largest face of `image`. Raises NoFaceFound."""
        faces = self._detector.detect_portrait(image)
        if not faces:
            raise NoFaceFound(_NONE_FOUND)
        points = five_points(faces[0])
        (embedding,) = self._recogniser.embed(image[None], points[None])
        return FaceFeatures(embedding.astype(np.float32), points, faces[0].box, head_crop(image, faces[0].box))


class EmbeddedReader:
    """The embedded engine's detector with a seeded projection for an embedding: alike for one picture, no recogniser of people.

    It keeps every line of the identity modules running where no recogniser may be shipped, and its name says what it is.
    """

    name = "embedded-projection"

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine

    def read(self, image: Image) -> FaceFeatures:
        """The largest face of `image`. Raises NoFaceFound."""
        if self._engine is None:
            from models.faceswap.embedded import EmbeddedEngine

            self._engine = EmbeddedEngine()
        (faces,) = self._engine.detect(image[None])
        if not faces:
            raise NoFaceFound(_NONE_FOUND)
        points = five_points(faces[0])
        embedding = project(align(image, points, ARCFACE_112, 112))
        return FaceFeatures(embedding, points, faces[0].box, head_crop(image, faces[0].box))


def project(aligned: Image) -> NDArray[np.float32]:
    """Seeded linear map of an aligned face (112, 112, 3) to 512 numbers, about as long as ArcFace's (20)."""
    import cv2

    small: Any = cv2.resize(aligned, (16, 16), interpolation=cv2.INTER_AREA)
    values = small.astype(np.float32).ravel() / 255
    vector = (values - values.mean()) @ _projection()
    return (vector * (20 / max(float(np.linalg.norm(vector)), 1e-6))).astype(np.float32)


@cache
def _projection() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((16 * 16 * 3, 512), np.float32)
