"""The networks and the mesh topology that come with the code; `weights/NOTICE` says where they are from."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import WeightsMissing

_FOLDER = Path(__file__).parent / "weights"
_SHA256 = {
    "detector.onnx": "2479647adf2179c45b070220f1ee4303e0511e3bdd423384a6bf661d3241e4af",
    "recogniser.onnx": "ab1305f783976b020b902b87476b0f52392249facbcdeefd64bec56038875468",
    "mesh.onnx": "564b96ff240e908a108c6c733d149e6b9270ae2d2cc7131acbae42ab27158d7f",
    "topology.json": "be5a4eb10381fab44c640ce9e34b4fb07670d5d8eae4d8c4d228bbc3228dffae",
}


def session(name: Literal["detector", "mesh", "recogniser"]) -> Any:
    """A new onnxruntime session of a bundled network, on one CPU thread. Raises WeightsMissing when the file is absent or changed.

    The networks take 2-7 ms an image; more threads for one image make it slower, so callers run several images side by side instead.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(_read(f"{name}.onnx"), options, providers=["CPUExecutionProvider"])


@cache
def topology(name: Literal["triangles", "mirror", "oval", "mouth", "right_eye", "left_eye"]) -> NDArray[np.intp]:
    """Landmark numbers: triangles (852, 3), the mirrored landmark of each (468,), or a rim of the mesh as a loop (36, 20 or 16,)."""
    array = np.array(json.loads(_read("topology.json"))[name], np.intp)
    array.setflags(write=False)
    return array


def _read(name: str) -> bytes:
    path = _FOLDER / name
    data = path.read_bytes() if path.is_file() else b""
    digest = hashlib.sha256(data).hexdigest()
    if digest != _SHA256[name]:
        raise WeightsMissing(f"{path} is absent or not the published file (SHA-256 {digest}); restore it from the repository")
    return data
