"""SCRFD in torch, for GPUs: many frames at once, letterboxed, run and decoded where they are; one copy back a batch."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from numpy.typing import NDArray
from torch import Tensor  # noqa: TID253

from models.faceswap.arc.graphs import Buckets
from models.faceswap.arc.onnx_torch import OnnxTorch
from models.faceswap.arc.scrfd import SIDE, THRESHOLD, largest_first
from models.faceswap.arc.sessions import open_session
from models.faceswap.arc.transfer import upload
from models.faceswap.engine import Face

log = logging.getLogger(__name__)

_BUCKETS = (1, 4, 8)
_STRIDES = (8, 16, 32)
_ANCHORS = 2
_CANDIDATES = 256  # a frame, before overlapping ones are dropped: some thirty anchors fire on one face
_OVERLAP = 0.4  # insightface's
_TOLERANCE = {torch.float16: 0.05, torch.float32: 1e-3}  # in scores (0..1) and strides


class TorchScrfd:
    """Finds faces in batches of frames. Thread-safe."""

    detect_every = 1  # finding a face costs the GPU less than following it costs the CPU

    def __init__(
        self, batched_model: Any, device: str, dtype: torch.dtype | None = None, threshold: float = THRESHOLD, side: int = SIDE
    ) -> None:
        self.device = device
        self.dtype = dtype or (torch.float16 if device.startswith("cuda") else torch.float32)
        self._threshold = threshold
        self._side = side
        self._anchors = _anchors(side).to(device)
        self._strides = torch.cat([torch.full((_ANCHORS * (side // s) ** 2, 1), float(s)) for s in _STRIDES]).to(device)
        net: Any = OnnxTorch(batched_model).eval().to(device, self.dtype).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._buckets = Buckets(net, [(3, side, side)], self.dtype, device, _BUCKETS)

    def heads(self, images: Tensor) -> Tensor:
        """What the network says of images (N, 3, side, side) in -1..1: (N, anchors, 15) float32; score, box and five points, in strides."""
        out = self._buckets.run(images.to(self.dtype, memory_format=torch.channels_last))
        return torch.cat([torch.cat(out[i : i + 3], dim=1) for i in (0, 3, 6)], dim=2).float()

    def detect(self, frames: NDArray[np.uint8]) -> list[list[Face]]:
        """Faces of each frame of (N, H, W, 3) RGB, largest first."""
        return self.detect_tensors(upload(frames, self.device))

    def detect_tensors(self, frames: Tensor) -> list[list[Face]]:
        """The same for frames on the device."""
        images, scale = _letterbox(frames, self._side)
        heads = self.heads(images)
        best = heads[..., 0].topk(min(_CANDIDATES, heads.shape[1]), dim=1).indices  # (N, K)
        heads = heads.gather(1, best[..., None].expand(-1, -1, 15))
        centres, strides = self._anchors[best], self._strides[best]
        low, high = centres - heads[..., 1:3] * strides, centres + heads[..., 3:5] * strides
        points = centres.repeat(1, 1, 5) + heads[..., 5:] * strides
        found = torch.cat([torch.cat([low, high, points], dim=2) / scale, heads[..., :1]], dim=2).cpu().numpy()  # (N, K, 15)
        return [self._distinct(candidates[candidates[:, 14] >= self._threshold]) for candidates in found]

    def _distinct(self, candidates: NDArray[np.float32]) -> list[Face]:
        """Faces from candidates (K, 15): box, points, score; best first. Of overlapping ones the best stays."""
        kept: list[int] = []
        boxes = candidates[:, :4]
        areas = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
        for i in range(len(boxes)):
            shared = np.minimum(boxes[i, 2:], boxes[kept, 2:]) - np.maximum(boxes[i, :2], boxes[kept, :2]) + 1
            overlap = np.prod(np.maximum(shared, 0), axis=1)
            if (overlap <= _OVERLAP * (areas[i] + areas[kept] - overlap)).all():
                kept.append(i)
        rows = candidates[kept]
        return largest_first(np.concatenate([rows[:, :4], rows[:, 14:]], axis=1), rows[:, 4:14].reshape(-1, 5, 2))


def load_scrfd(path: Path, device: str, threshold: float = THRESHOLD) -> TorchScrfd | None:
    """SCRFD in torch if it agrees with onnxruntime on the file at `path`; None, with a line in the log, if not."""
    import onnx

    from models.faceswap.arc.batching import scrfd_with_batch

    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, SIDE, SIDE)).astype(np.float32)
    session = open_session(path, "cpu")
    raw = session.run(None, {session.get_inputs()[0].name: image})
    expected = np.concatenate([np.concatenate(raw[i : i + 3]) for i in (0, 3, 6)], axis=1)
    try:
        detector = TorchScrfd(scrfd_with_batch(onnx.load(path)), device, threshold=threshold)
        found = detector.heads(torch.from_numpy(image).to(device).expand(2, -1, -1, -1))[1].cpu().numpy()
    except torch.OutOfMemoryError:
        raise  # onnxruntime would fare no better
    except Exception as error:  # an unknown operator, or whatever torch raises on a graph of another build
        log.warning("SCRFD does not run in torch (%s); onnxruntime runs it", error)
        return None
    difference, tolerance = float(np.abs(found - expected).max()), _TOLERANCE[detector.dtype]
    if not difference <= tolerance:
        log.warning("SCRFD in torch differs from onnxruntime by %.4f (tolerance %.4f); onnxruntime runs it", difference, tolerance)
        return None
    return detector


def _letterbox(frames: Tensor, side: int) -> tuple[Tensor, float]:
    """Frames (N, H, W, 3) fitted to the top left of a black square, as (N, 3, side, side) in -1..1, and the scale used."""
    height, width = frames.shape[1:3]
    h, w = (side, int(side * width / height)) if height > width else (int(side * height / width), side)
    small = F.interpolate(frames.permute(0, 3, 1, 2).float(), size=(h, w), mode="bilinear", align_corners=False)
    small = (small.round() - 127.5) / 128.0
    return F.pad(small, (0, side - w, 0, side - h), value=-127.5 / 128.0), h / height


def _anchors(side: int) -> Tensor:
    """Centres (anchors, 2) of all strides, x first, in the order of the network's rows."""
    levels: list[Tensor] = []
    for stride in _STRIDES:
        steps = torch.arange(side // stride, dtype=torch.float32) * stride
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        levels.append(torch.stack([x, y], dim=-1).reshape(-1, 2).repeat_interleave(_ANCHORS, dim=0))
    return torch.cat(levels)
