"""Arrays to a device and back without waiting for each one."""

from typing import Any

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray
from torch import Tensor  # noqa: TID253


def upload(array: NDArray[Any], device: str | torch.device) -> Tensor:
    """A copy of `array` on the device, through page-locked memory so that the caller need not wait.

    `array` may be read-only, as arrays out of Ray's object store are.
    """
    pinned = torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype, pin_memory=_is_cuda(device))
    np.copyto(pinned.numpy(), array)
    return pinned.to(device, non_blocking=True)


def download(tensor: Tensor) -> Tensor:
    """A copy of `tensor` on the CPU; on a GPU it is there only after the stream was waited for."""
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return host.copy_(tensor, non_blocking=True)


def _is_cuda(device: str | torch.device) -> bool:
    return torch.device(device).type == "cuda"
