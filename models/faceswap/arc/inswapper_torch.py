"""inswapper_128 in torch, for GPUs: float16, channels last, CUDA graphs; checked against onnxruntime before it is used."""

import logging
from pathlib import Path
from typing import Any

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

from models.faceswap.arc.graphs import BUCKETS, Buckets
from models.faceswap.arc.inswapper import Crops, Latents, OnnxSwapper, trial
from models.faceswap.arc.onnx_torch import OnnxTorch
from models.faceswap.arc.region import SIZE
from models.faceswap.arc.sessions import open_session

log = logging.getLogger(__name__)

TOLERANCE = {torch.float16: 3 / 255, torch.float32: 1 / 255}


class TorchSwapper:
    """inswapper as a torch module. Thread-safe.

    compiled: let inductor fuse what lies between the convolutions; costs a compiler and a minute at load.
    """

    def __init__(
        self,
        batched_model: Any,
        device: str,
        dtype: torch.dtype | None = None,
        buckets: tuple[int, ...] = BUCKETS,
        compiled: bool = False,
    ) -> None:
        cuda = device.startswith("cuda")
        self.device = device
        self.dtype = dtype or (torch.float16 if cuda else torch.float32)
        self.name = f"torch {str(self.dtype).removeprefix('torch.')}" + (", CUDA graphs" if cuda else "")
        module = OnnxTorch(batched_model).eval().to(device, self.dtype).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        net: Any = torch.compile(module, dynamic=False) if compiled else module
        self._buckets = Buckets(net, [(3, SIZE, SIZE), (512,)], self.dtype, device, buckets)

    def run_tensors(self, crops: Tensor, latents: Tensor) -> Tensor:
        """The crops (N, 3, 128, 128), RGB in 0..1, with the identities of `latents` (N, 512); on the device, in `dtype`."""
        crops = crops.to(self.dtype, memory_format=torch.channels_last)
        return self._buckets.run(crops, latents.to(self.dtype))[0]

    def run(self, crops: Crops, latents: Latents) -> Crops:
        """See `SwapNetwork`."""
        on_device = (torch.from_numpy(array).to(self.device) for array in (crops, latents))
        return self.run_tensors(*on_device).float().cpu().numpy()


def load_torch(path: Path, batched_model: Any, device: str, compiled: bool = False) -> TorchSwapper | None:
    """Load inswapper in torch if it agrees with onnxruntime on the file at `path`; None, with a line in the log, if not."""
    crops, latents = trial(3)
    expected = OnnxSwapper(open_session(path, "cpu"), 1, "onnxruntime").run(crops, latents)
    try:
        swapper = TorchSwapper(batched_model, device, compiled=compiled)
        found = swapper.run(crops, latents)
    except torch.OutOfMemoryError:
        raise  # onnxruntime would fare no better
    except Exception as error:  # an unknown operator, or whatever torch raises on a graph of another build
        log.warning("inswapper does not run in torch (%s); onnxruntime runs it", error)
        return None
    difference, tolerance = float(abs(found - expected).max()), TOLERANCE[swapper.dtype]
    if not difference <= tolerance:
        log.warning("inswapper in torch differs from onnxruntime by %.4f (tolerance %.4f); onnxruntime runs it", difference, tolerance)
        return None
    return swapper
