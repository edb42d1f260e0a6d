"""GFPGAN as a `Restorer`, on weights from a local folder."""

import threading
from pathlib import Path

import torch  # noqa: TID253
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor  # noqa: TID253

from models.errors import WeightsMissing
from models.faceswap.gfpgan.network import UNUSED, Gfpgan, Shape
from models.faceswap.restore import Crops
from models.safe_files import only_safetensors

FILE = "GFPGANv1.4.safetensors"
_PREFIX = "params_ema."  # the averaged weights, as the published file holds them


class GfpganRestorer:
    """A `Restorer`. Thread-safe; one batch at a time."""

    name = "gfpgan"

    def __init__(self, folder: Path, device: str) -> None:
        """Raises WeightsMissing when the file is absent, is a pickle, or its tensors are not exactly the network's."""
        self._device = device
        self._network = _load(only_safetensors(folder, FILE)).to(device)
        self.side = self._network.shape.side
        self._lock = threading.Lock()

    @torch.inference_mode()
    def restore(self, crops: Crops) -> Crops:
        """Restored crops (N, side, side, 3), RGB."""
        x = torch.from_numpy(crops).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with self._lock:
            out: Tensor = self._network(x)
        return ((out.clamp(-1, 1) + 1) * 127.5 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _load(path: Path) -> Gfpgan:
    """The network, its shape read from the file. Strict: every tensor of one is in the other."""
    try:
        weights = {
            name.removeprefix(_PREFIX): tensor
            for name, tensor in load_file(path).items()
            if not name.removeprefix(_PREFIX).startswith(UNUSED)
        }
        with torch.device("meta"):
            network = Gfpgan(Shape.of(weights))
        network.load_state_dict(weights, strict=True, assign=True)
    except (KeyError, RuntimeError, SafetensorError) as error:
        raise WeightsMissing(
            f"{path.name} does not hold GFPGAN's tensors ({error}); convert GFPGANv1.4.pth again with "
            f"`python -m tools.convert_weights GFPGANv1.4.pth {FILE} --only {_PREFIX}`"
        ) from error
    return network.eval().requires_grad_(False)
