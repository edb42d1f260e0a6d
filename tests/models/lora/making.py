"""LoRA files for tests, in the spellings of several trainers."""

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from models.lora.files import LoraFiles
from models.task import LoraUse


def peft(layers: Mapping[str, tuple[int, int]], rank: int = 4, seed: int = 0, scale: float = 0.3) -> dict[str, Any]:
    """Matrices under PEFT's names for layers (out, in); large enough to change every pixel."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Any] = {}
    for name, (out, into) in layers.items():
        tensors[f"{name}.lora_A.weight"] = torch.randn(rank, into, generator=generator) / into**0.5
        tensors[f"{name}.lora_B.weight"] = torch.randn(out, rank, generator=generator) * scale
    return tensors


def save(tensors: Mapping[str, Any], file: Path, metadata: dict[str, str] | None = None) -> Path:
    from safetensors.torch import save_file

    save_file(dict(tensors), file, metadata)
    return file


def raw(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file written by hand, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def registered(files: LoraFiles, file: Path, name: str, strength: float = 1.0) -> LoraUse:
    """Put a file where replicas find it, and name it as the registry would."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    files.put(file, digest)
    return LoraUse(name, strength, digest)


def attention(layers: Mapping[str, tuple[int, int]], endings: Iterable[str] = ("to_q", "to_k", "to_v")) -> dict[str, tuple[int, int]]:
    """The layers of a model that most LoRAs train."""
    return {name: shape for name, shape in layers.items() if name.endswith(tuple(endings))}
