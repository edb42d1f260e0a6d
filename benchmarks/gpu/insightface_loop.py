"""What is compared against: insightface's own code, one frame at a time, as its examples and the tools built on it run a video.

Its networks run in onnxruntime where that has CUDA. Where it has not, torch runs the same graphs behind the same session interface:
float32 (TF32 on the GPU, onnxruntime's default), cuDNN's algorithms chosen by trial (its default too), arrays in and out of host memory
at every call, as onnxruntime does it.
"""

import contextlib
import io
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from insightface.app.common import Face
from insightface.model_zoo.inswapper import INSwapper
from insightface.model_zoo.scrfd import SCRFD

from models.faceswap.arc.onnx_torch import OnnxTorch
from models.faceswap.arc.scrfd import SIDE
from models.faceswap.arc.sessions import open_session


@dataclass
class Value:
    name: str
    shape: list[Any]
    type: str = "tensor(float)"


class TorchSession:
    """onnxruntime's session interface, as far as insightface uses it, on torch."""

    def __init__(self, path: Path, device: str) -> None:
        model = onnx.load(path)
        known = {tensor.name for tensor in model.graph.initializer}
        self._inputs = [_value(v) for v in model.graph.input if v.name not in known]
        self._outputs = [_value(v) for v in model.graph.output]
        self._device = device
        self._net = OnnxTorch(model).eval().to(device)

    def get_inputs(self) -> list[Value]:
        return self._inputs

    def get_outputs(self) -> list[Value]:
        return self._outputs

    def get_providers(self) -> list[str]:
        return ["TorchExecutionProvider"]

    def run(self, _names: Any, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
            inputs = [torch.from_numpy(np.ascontiguousarray(feed[v.name], np.float32)).to(self._device) for v in self._inputs]
            return [output.cpu().numpy() for output in self._net(*inputs)]


def _value(info: Any) -> Value:
    return Value(info.name, [d.dim_value or d.dim_param for d in info.type.tensor_type.shape.dim])


@dataclass
class InsightfaceLoop:
    """detect, get and paste for one frame after another."""

    folder: Path
    device: str
    seconds: dict[str, float] = field(default_factory=lambda: {"detect": 0.0, "swap": 0.0, "paste": 0.0})

    def __post_init__(self) -> None:
        by_torch = self.device != "cpu" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
        self.runtime = "torch, TF32" if by_torch else "onnxruntime"
        torch.backends.cuda.matmul.allow_tf32 = True
        open_any = TorchSession if by_torch else open_session
        detector, swapper = self.folder / "det_10g.onnx", self.folder / "inswapper_128.onnx"
        with contextlib.redirect_stdout(io.StringIO()):
            self._detector = SCRFD(str(detector), open_any(detector, self.device), static_shape_sessions=False)
            self._swapper = INSwapper(str(swapper), open_any(swapper, self.device))
        self._detector.prepare(0, input_size=(SIDE, SIDE))
        warnings.simplefilter("ignore", FutureWarning)  # scikit-image's, at every frame

    def frame(self, bgr: np.ndarray, landmarks: np.ndarray, embedding: np.ndarray, shares: bool = False) -> np.ndarray:
        """One frame swapped. The random detector finds nothing, so the landmarks are given; its time is spent all the same.

        shares: run the swap again without its paste, to tell the two apart.
        """
        start = time.perf_counter()
        self._detector.detect(bgr)
        face, source = Face(kps=landmarks), Face(embedding=embedding)
        detected = time.perf_counter()
        done = self._swapper.get(bgr, face, source)
        pasted = time.perf_counter()
        if shares:
            self._swapper.get(bgr, face, source, paste_back=False)
            swap = time.perf_counter() - pasted
            for stage, seconds in (("detect", detected - start), ("swap", swap), ("paste", pasted - detected - swap)):
                self.seconds[stage] += seconds
        return done
