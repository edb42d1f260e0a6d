"""inswapper_128 through onnxruntime: a face crop and an identity in, the crop with that identity out."""

import logging
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import NotConfigured
from models.faceswap.arc.region import SIZE
from models.faceswap.arc.sessions import open_session

log = logging.getLogger(__name__)

Crops = NDArray[np.float32]  # (N, 3, 128, 128), RGB, 0..1
Latents = NDArray[np.float32]  # (N, 512), unit length


class SwapNetwork(Protocol):
    """A loaded inswapper. Thread-safe."""

    name: str

    def run(self, crops: Crops, latents: Latents) -> Crops:
        """The crops with the identities of `latents`, any N; values may leave 0..1 a little."""
        ...


def read_table(model: Any) -> NDArray[np.float32]:
    """The table (512, 512) that takes ArcFace's embedding to inswapper's latent.

    It is the last initialiser of the graph and used by no node, so any tool that rewrites the file may have lost it.
    """
    from onnx import numpy_helper

    table = numpy_helper.to_array(model.graph.initializer[-1])
    if table.shape != (512, 512):
        raise NotConfigured(
            f"the last initialiser of the inswapper file has shape {table.shape}, not the identity table's (512, 512): "
            "the file was rewritten by a tool that lost it; use the published file"
        )
    return table.astype(np.float32)


def latent(embedding: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """What inswapper reads of an ArcFace embedding (512,): turned by the table and of unit length."""
    turned = embedding / np.linalg.norm(embedding) @ table
    return (turned / np.linalg.norm(turned)).astype(np.float32)


def trial(count: int) -> tuple[Crops, Latents]:
    """Random input to compare two loads of the same network by."""
    random = np.random.default_rng(0)
    latents = random.standard_normal((count, 512), np.float32)
    return random.random((count, 3, SIZE, SIZE), np.float32), latents / np.linalg.norm(latents, axis=1, keepdims=True)


class OnnxSwapper:
    """inswapper in an onnxruntime session."""

    def __init__(self, session: Any, batch: int, name: str) -> None:
        self.name = name
        self._session = session
        self._batch = batch
        self._inputs = [value.name for value in session.get_inputs()]

    def run(self, crops: Crops, latents: Latents) -> Crops:
        """See `SwapNetwork`."""
        parts = [slice(i, i + self._batch) for i in range(0, len(crops), self._batch)]
        return np.concatenate([self._session.run(None, dict(zip(self._inputs, (crops[p], latents[p]), strict=True)))[0] for p in parts])


def load_onnx(path: Path, batched_model: Any, device: str, batch: int = 8, tolerance: float = 1 / 255) -> OnnxSwapper:
    """Load inswapper, with `batch` faces at once if `batched_model` agrees with the file run face by face, else with one."""
    single = OnnxSwapper(open_session(path, device), 1, "onnxruntime")
    crops, latents = trial(2)
    try:
        many = OnnxSwapper(open_session(batched_model.SerializeToString(), device), batch, f"onnxruntime, batch {batch}")
        difference = float(np.abs(many.run(crops, latents) - single.run(crops, latents)).max())
    except Exception as error:  # onnxruntime raises its own classes, which share no base but Exception
        log.warning("inswapper runs one face at a time: its graph does not run with a batch (%s)", error)
        return single
    if not difference <= tolerance:
        log.warning("inswapper runs one face at a time: with a batch its output differs by %.4f (tolerance %.4f)", difference, tolerance)
        return single
    return many
