"""Loads SeedVR2's networks from safetensors, strictly: every tensor of a file has its place, and every place its tensor."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch  # noqa: TID253
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn  # noqa: TID253

from models.errors import WeightsMissing
from models.seedvr2.config import find
from models.seedvr2.dit import SeedVR2Transformer
from models.seedvr2.vae import SeedVR2Autoencoder

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Networks:
    """SeedVR2 on a device: its networks and the embedding (L, text_dim) of the one prompt that it is always given."""

    dit: SeedVR2Transformer
    vae: SeedVR2Autoencoder
    prompt: Tensor


def load(folders: Sequence[Path], device: str) -> Networks:
    """Load the published files, which lie in any of `folders`: bfloat16 on a card, float32 on the CPU. Raises WeightsMissing."""
    files = find(folders)
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    return Networks(
        dit=_network(lambda: SeedVR2Transformer(files.dit_config), files.dit, device, dtype),
        vae=_network(lambda: SeedVR2Autoencoder(files.vae_config), files.vae, device, dtype),
        prompt=_prompt(files.prompt, files.dit_config.text_dim).to(device, dtype),
    )


def _network(build: Callable[[], Network], path: Path, device: str, dtype: torch.dtype) -> Network:
    with torch.device("meta"):
        network = build()
    # Positions need float32 whatever the weights are kept in, and buffers are nothing but positions here.
    positions = {name for name, _ in network.named_buffers()}
    state = {name: tensor.to(torch.float32 if name in positions else dtype) for name, tensor in _read(path, device)}
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsMissing(f"{path.name} does not fit {type(network).__name__}: {_shortened(str(error))}") from error
    return network.eval().requires_grad_(False)


def _prompt(path: Path, channels: int) -> Tensor:
    tensors = [tensor for _, tensor in _read(path, "cpu")]
    if len(tensors) != 1 or tensors[0].ndim != 2 or tensors[0].shape[1] != channels:
        raise WeightsMissing(f"{path.name} must hold one tensor (tokens, {channels}), got {[tuple(x.shape) for x in tensors]}")
    return tensors[0]


def _read(path: Path, device: str) -> Iterator[tuple[str, Tensor]]:
    """Tensors one by one, so that converting them takes no room for a second copy of all."""
    try:
        with safe_open(path, framework="pt", device=device) as file:
            for name in file.keys():  # noqa: SIM118  # not a mapping
                yield name, file.get_tensor(name)
    except SafetensorError as error:
        raise WeightsMissing(f"{path.name} is not a safetensors file ({error}); other formats are not loaded") from error


def _shortened(text: str, most: int = 600) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[:most] + "…"
