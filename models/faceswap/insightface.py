"""The `insightface` engine: SCRFD finds faces, ArcFace reads the source's identity, inswapper_128 paints it.

For those who hold a licence for the weights (`insightface-non-commercial`); they are read from a local folder and never fetched.
On the CPU the networks run in onnxruntime, on a GPU in torch, with onnxruntime as the net below.
"""

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import NoFaceFound
from models.faceswap.arc import flow
from models.faceswap.arc.arcface import ArcFace
from models.faceswap.arc.batching import with_batch
from models.faceswap.arc.files import check_folder
from models.faceswap.arc.inswapper import OnnxSwapper, latent, load_onnx, read_table
from models.faceswap.arc.painter import HostPainter, Painter
from models.faceswap.arc.scrfd import Scrfd
from models.faceswap.arc.sessions import open_session
from models.faceswap.engine import Face, Patch, Source
from models.runner import Fact
from models.task import Image

_SAME_PERSON = 1.14  # distance of unit vectors at a cosine of 0.35
_SOURCES = 64  # identities kept in memory, 4 KB each
_BATCH = 16  # faces at once on a GPU: its speed is reached, and little waits for a batch to fill


@dataclass(frozen=True, slots=True)
class Identity:
    """A source face: ArcFace's embedding and inswapper's latent, float32 (512,), each of unit length."""

    embedding: NDArray[np.float32]
    latent: NDArray[np.float32]


class _Detector(Protocol):
    detect_every: int

    def detect(self, frames: NDArray[np.uint8]) -> list[list[Face]]: ...


class InsightFaceEngine:
    """An `Engine` on the networks in `folder`. Thread-safe.

    compiled: on a GPU, let inductor fuse what lies between inswapper's convolutions; about a minute more at load.
    facts: which form of the swap network runs.
    """

    name = "insightface"
    same_person = _SAME_PERSON

    def __init__(self, folder: Path, device: str = "cpu", compiled: bool = False) -> None:
        """Raises WeightsMissing if a network is absent or not the pinned one."""
        files = check_folder(folder)
        self._portraits = Scrfd(files.detector, device)
        self._detector: _Detector = _tensor_detector(files.detector, device) or self._portraits
        self._arcface = ArcFace(files.recogniser, device)
        self._painter, self._table = _load_painter(files.swapper, device, compiled)
        self.detect_every = self._detector.detect_every
        self.batch = _BATCH if device.startswith("cuda") else 1
        self._identities: OrderedDict[bytes, Identity] = OrderedDict()
        self._lock = threading.Lock()
        self.facts: dict[str, Fact] = {"inswapper": self._painter.name}

    def read_source(self, image: Image) -> Identity:
        """The identity of the largest face of `image`, read once for each picture. Raises NoFaceFound."""
        key = hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).digest()
        with self._lock:
            known = self._identities.get(key)
            if known is not None:
                self._identities.move_to_end(key)
                return known
        faces = self._portraits.detect_portrait(image)
        if not faces:
            raise NoFaceFound("no face was found in the source picture; use one that shows a face from the front, at least 100 pixels wide")
        (embedding,) = self.embed(image[None], faces[:1])
        identity = Identity(embedding, latent(embedding, self._table))
        with self._lock:
            self._identities[key] = identity
            while len(self._identities) > _SOURCES:
                self._identities.popitem(last=False)
        return identity

    def recognise(self, image: Image) -> NDArray[np.float32]:
        """Unit embedding (512,) of the largest face of a picture. Raises NoFaceFound."""
        return self.read_source(image).embedding

    def embed(self, frames: NDArray[np.uint8], faces: list[Face]) -> NDArray[np.float32]:
        """Unit embeddings (N, 512) of one face a frame, to tell people apart by."""
        embeddings = self._arcface.embed(frames, _landmarks(faces))
        return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    def detect(self, frames: NDArray[np.uint8]) -> list[list[Face]]:
        """Faces of each frame of (N, H, W, 3), largest first."""
        found = self._detector.detect(frames)
        return [[flow.seen(frame, face) for face in faces] for frame, faces in zip(frames, found, strict=True)]

    def follow(self, frame: Image, last: Face) -> Face | None:
        """The face `last` of the previous frame in this one, by the flow of its landmarks; None when lost."""
        return flow.follow(frame, last)

    def paint(self, frames: NDArray[np.uint8], faces: list[Face], source: Source, boost: int = 1) -> list[Patch]:
        """Paint `source` over one face a frame of (N, H, W, 3); with `boost` 2 or 4 at 256 or 512 pixels instead of 128."""
        assert isinstance(source, Identity), "a source is read by the engine that paints it"
        if not faces:
            return []
        return self._painter.patches(frames, _landmarks(faces), source.latent, boost)


def _landmarks(faces: list[Face]) -> NDArray[np.float32]:
    return np.stack([face.landmarks[:, :2] for face in faces]).astype(np.float32)


def _tensor_detector(path: Path, device: str) -> _Detector | None:
    if not device.startswith("cuda"):
        return None
    from models.faceswap.arc.scrfd_torch import load_scrfd

    return load_scrfd(path, device)


def _load_painter(path: Path, device: str, compiled: bool) -> tuple[Painter, NDArray[np.float32]]:
    """The fastest painter that agrees with the file, and the file's identity table."""
    import onnx

    model = onnx.load(path)
    table = read_table(model)
    if not device.startswith("cuda"):
        # On a CPU a batch is no faster: 1.6 core-seconds a face for one, two or four at once.
        return HostPainter(OnnxSwapper(open_session(path, device), 1, "onnxruntime")), table
    from models.faceswap.arc.inswapper_torch import load_torch
    from models.faceswap.arc.tensors import TensorPainter

    with_batch(model)
    swapper = load_torch(path, model, device, compiled)
    return (HostPainter(load_onnx(path, model, device)) if swapper is None else TensorPainter(swapper)), table
