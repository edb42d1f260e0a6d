"""Checks a LoRA file by its safetensors header alone: plain JSON and arithmetic, before any library opens the file.

The format: 8 bytes little-endian length, that many bytes of JSON (name → dtype, shape, offsets), then the tensors' bytes.
"""

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

from models.errors import LoraRejected, TooLarge

MAX_JSON = 4_000_000  # a LoRA on every layer of the largest model has half a megabyte of it
MAX_TENSORS = 20_000
MAX_RANK = 512
BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8}

# Names of the two halves of a layer's LoRA: down (rank, in) and up (out, rank), as trainers and libraries spell them.
PAIRS = (
    ("lora_down.weight", "lora_up.weight"),
    ("lora_A.weight", "lora_B.weight"),
    ("lora_A.default.weight", "lora_B.default.weight"),
    (".down.weight", ".up.weight"),
)
# What people call a LoRA and what this system does not run, by a part of the tensors' names.
OTHER_KINDS = {
    r"dora_scale|lora_magnitude": "DoRA",
    r"lokr_": "LoKr",
    r"hada_": "LoHa",
    r"oft_": "OFT",
    r"\.diff(_b)?$": "full-weight differences",
    r"lora_B\.bias$|lora_up\.bias$": "LoRA with biases",
    r"lora_mid": "LoCon with a middle matrix",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as the header declares it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a sound LoRA file says. rank: the largest of its layers. metadata: its free text, for the alphas of PEFT."""

    tensors: Mapping[str, Tensor]
    rank: int
    metadata: Mapping[str, str]


def read_header(file: Path, max_bytes: int) -> Header:
    """The header of a LoRA file. Raises TooLarge, or LoraRejected with the first thing that is wrong."""
    size = file.stat().st_size
    if size > max_bytes:
        raise TooLarge(f"the LoRA has {size:,} bytes, the limit is {max_bytes:,}; save it in bfloat16 or with a lower rank")
    with file.open("rb") as reader:
        prefix = reader.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= min(MAX_JSON, size - 8):
            raise _wrong(f"the first 8 bytes announce a header of {length:,} bytes in a file of {size:,}: not a safetensors LoRA")
        text = reader.read(length)
    entries = _json(text)
    metadata = _metadata(entries.pop("__metadata__", {}))
    tensors = _tensors(entries, size - 8 - length)
    return Header(tensors, _rank(tensors), metadata)


def _json(text: bytes) -> dict[str, Any]:
    def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise _wrong("the header names a tensor twice")
        return found

    try:
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=no_doubles)
    except (ValueError, RecursionError) as error:
        raise LoraRejected(f"the header is not valid JSON ({type(error).__name__}); send a .safetensors file") from None
    if not isinstance(entries, dict) or len(cast(dict[str, Any], entries)) > MAX_TENSORS:
        raise _wrong(f"the header must be one JSON object of at most {MAX_TENSORS:,} tensors")
    return cast(dict[str, Any], entries)


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in cast(dict[str, Any], value).values()):
        raise _wrong("__metadata__ must map names to text")
    return cast(dict[str, str], value)


def _tensors(entries: Mapping[str, Any], data_bytes: int) -> dict[str, Tensor]:
    """Each entry's dtype and shape; the tensors must lie one after the other and fill the file."""
    tensors: dict[str, Tensor] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in entries.items():
        match entry:
            case {"dtype": str(dtype), "shape": list(sides), "data_offsets": [int(start), int(end)], **rest} if not rest:
                shape = cast(list[Any], sides)
            case _:
                raise _wrong(f"{name[:80]!r} has no dtype, shape and data_offsets of the safetensors format")
        if dtype not in BYTES:
            raise _wrong(f"{name[:80]!r} is {dtype}; a LoRA must be {', '.join(sorted(BYTES))}")
        if len(shape) > 4 or not all(type(side) is int and 0 < side <= 1_000_000 for side in shape):
            raise _wrong(f"{name[:80]!r} has the shape {str(shape)[:80]}; sides are 1 to 1,000,000, at most four")
        if end - start != prod(shape) * BYTES[dtype]:
            raise _wrong(f"{name[:80]!r}: {end - start:,} bytes are no {dtype} of shape {shape}")
        tensors[name] = Tensor(dtype, tuple(shape))
        spans.append((start, end, name))
    position = 0
    for start, end, name in sorted(spans):
        if start != position:
            raise _wrong(f"{name[:80]!r} begins at {start:,} where {position:,} is expected: tensors overlap or leave a gap")
        position = end
    if position != data_bytes:
        raise _wrong(f"the header describes {position:,} bytes of tensors, the file holds {data_bytes:,}: it was cut or added to")
    return tensors


def _rank(tensors: Mapping[str, Tensor]) -> int:
    """The largest rank; every tensor must be half of a pair that fits together, or an alpha."""
    rank, halves = 0, 0
    for name, tensor in tensors.items():
        if name.endswith(".alpha"):
            if prod(tensor.shape) != 1:
                raise _wrong(f"{name[:80]!r} must be one number, has the shape {tensor.shape}")
            continue
        down, up = _pair(name)
        if down not in tensors or up not in tensors:
            raise _wrong(f"{name[:80]!r} has no other half ({down if name == up else up!r})"[:240])
        a, b = tensors[down].shape, tensors[up].shape
        if len(a) != 2 or len(b) != 2:
            raise _wrong(f"{name[:80]!r} has the shape {tensor.shape}; only LoRAs of linear layers are supported")
        if a[0] != b[1]:
            raise _wrong(f"{down[:80]!r} has rank {a[0]}, its other half {b[1]}")
        rank, halves = max(rank, a[0]), halves + 1
    if not halves:
        raise _wrong("the file holds no LoRA")
    if rank > MAX_RANK:
        raise _wrong(f"its rank is {rank}, at most {MAX_RANK} is supported; resize it with your trainer's tool")
    return rank


def _pair(name: str) -> tuple[str, str]:
    for pattern, kind in OTHER_KINDS.items():
        if re.search(pattern, name):
            raise _wrong(f"it is {kind} ({name[:80]!r}), which is not supported; train or convert it to a plain LoRA")
    for down, up in PAIRS:
        if name.endswith((down, up)):
            layer = name.removesuffix(down).removesuffix(up)
            return layer + down, layer + up
    raise _wrong(f"{name[:80]!r} is no part of a LoRA")


def _wrong(reason: str) -> LoraRejected:
    return LoraRejected(f"this LoRA file cannot be used: {reason}")
