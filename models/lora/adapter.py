"""A LoRA file turned into matrices by layer, whatever trainer wrote it."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import LoraRejected
from models.lora.base import Base
from models.lora.header import PAIRS, read_header

_MAX_BYTES = 1 << 40  # size is limited where files come in


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA's matrices by layer of its base: A (r, in) and B (out, r), any alpha already in B."""

    matrices: Mapping[str, tuple[Any, Any]]

    @property
    def bytes(self) -> int:
        """Memory that the matrices take."""
        return sum(tensor.numel() * tensor.element_size() for pair in self.matrices.values() for tensor in pair)

    @property
    def rank(self) -> int:
        """The largest rank of its layers."""
        return max(a.shape[0] for a, _ in self.matrices.values())

    def to(self, device: Any) -> "Adapter":
        """The same adapter on `device`; itself when it is there already."""
        return Adapter({name: (a.to(device), b.to(device)) for name, (a, b) in self.matrices.items()})


def load_adapter(file: Path, base: Base, dtype: Any = None) -> Adapter:
    """Read a LoRA file in any format that diffusers converts for this base, in `dtype` (None: as stored). Raises LoraRejected."""
    from safetensors.torch import load_file

    header = read_header(file, _MAX_BYTES)
    tensors, alphas = _converted(load_file(file), base.converter)
    alphas |= _peft_alphas(tensors, header.metadata)
    matrices: dict[str, tuple[Any, Any]] = {}
    for name in sorted(tensors):
        if name.endswith(PAIRS[1][0]):
            prefix = name.removesuffix("." + PAIRS[1][0])
            a, b = tensors[name], tensors.get(f"{prefix}.{PAIRS[1][1]}")
            if b is None:
                raise LoraRejected(f"{prefix!r} has only one half after conversion to diffusers' names")
            layer = _layer(prefix, base)
            _check(layer, a, b, base)
            if prefix in alphas:
                b = (b.float() * alphas[prefix]).to(b.dtype)
            matrices[layer] = (_stored(a, dtype), _stored(b, dtype))
    if not matrices:
        raise LoraRejected(f"nothing in this LoRA belongs to this model ({base.converter.removesuffix('LoraLoaderMixin')})")
    return _for_both_experts(matrices, base)


def _converted(tensors: dict[str, Any], converter: str) -> tuple[dict[str, Any], dict[str, float]]:
    """Tensors under diffusers' names ending in lora_A/lora_B, and the factor for B of each layer that has one."""
    from diffusers.loaders import lora_pipeline

    kind = getattr(lora_pipeline, converter)
    try:
        takes_alphas = converter in ("FluxLoraLoaderMixin",)
        answer = kind.lora_state_dict(dict(tensors), **({"return_alphas": True} if takes_alphas else {}))
    except (ValueError, KeyError, RuntimeError, NotImplementedError, AttributeError, IndexError, TypeError) as error:
        raise LoraRejected(f"this LoRA is in no format known for this model: {type(error).__name__}: {str(error)[:200]}") from None
    found, network = answer if isinstance(answer, tuple) else (answer, None)
    alphas = {_plain(name).removesuffix(".alpha"): float(value) for name, value in (network or {}).items()}
    tensors = {}
    for name, value in found.items():
        plain = _plain(name)
        if plain.endswith(".alpha"):
            alphas[plain.removesuffix(".alpha")] = float(value)
        elif "lora" in plain:
            tensors[plain] = value
        else:
            raise LoraRejected(f"{name[:80]!r} is no part of a LoRA")
    down = {name.removesuffix("." + PAIRS[1][0]): value.shape[0] for name, value in tensors.items() if name.endswith(PAIRS[1][0])}
    return tensors, {layer: alpha / down[layer] for layer, alpha in alphas.items() if layer in down}


def _plain(name: str) -> str:
    """A name with the ending of PEFT, whichever of diffusers' own endings it has."""
    name = name.replace(".default.weight", ".weight")
    name = re.sub(r"\.(lora|lora_linear_layer)\.down\.weight$|\.lora_down\.weight$", ".lora_A.weight", name)
    return re.sub(r"\.(lora|lora_linear_layer)\.up\.weight$|\.lora_up\.weight$", ".lora_B.weight", name)


def _peft_alphas(tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> dict[str, float]:
    """Factors that diffusers and PEFT write into the file's metadata: alpha over rank, or over its root."""
    try:
        config = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        factors: dict[str, float] = {}
        for name in tensors:
            if not name.endswith(PAIRS[1][0]):
                continue
            layer = name.removesuffix("." + PAIRS[1][0])
            part, _, inner = layer.partition(".")
            patterns = config.get(f"{part}.alpha_pattern") or {}
            alpha = next((a for key, a in patterns.items() if inner == key or inner.endswith("." + key)), config.get(f"{part}.lora_alpha"))
            if alpha is not None:
                rank = tensors[name].shape[0]
                factors[layer] = float(alpha) / (math.sqrt(rank) if config.get(f"{part}.use_rslora") else rank)
    except (ValueError, TypeError, AttributeError) as error:
        raise LoraRejected(f"lora_adapter_metadata in the file cannot be read: {error}") from None
    return factors


def _layer(prefix: str, base: Base) -> str:
    """The base's own name of a layer. Text encoders lost their inner `text_model` in transformers 5."""
    for name in (prefix, prefix.replace(".text_model.", ".", 1), f"{next(iter(base.layers)).partition('.')[0]}.{prefix}"):
        if name in base.layers:
            return name
    raise LoraRejected(f"this model has no linear layer {prefix[:120]!r}; the LoRA was trained for another base")


def _check(layer: str, a: Any, b: Any, base: Base) -> None:
    out, into = base.layers[layer]
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        raise LoraRejected(f"{layer!r}: {tuple(a.shape)} and {tuple(b.shape)} are no pair of LoRA matrices")
    if (b.shape[0], a.shape[1]) != (out, into):
        raise LoraRejected(f"{layer!r} is {into} → {out} in this model, the LoRA was trained for {a.shape[1]} → {b.shape[0]}: another base")
    if a.shape[0] > base.rank:
        raise LoraRejected(f"{layer!r} has rank {a.shape[0]}, this model takes at most {base.rank}; resize it with your trainer's tool")
    if not (a.isfinite().all() and b.isfinite().all()):
        raise LoraRejected(f"{layer!r} holds values that are not numbers; the training diverged")


def _stored(tensor: Any, dtype: Any) -> Any:
    return tensor.to(dtype or tensor.dtype).contiguous()


def _for_both_experts(matrices: dict[str, tuple[Any, Any]], base: Base) -> Adapter:
    """A LoRA of a model with one expert acts on both of a model with two where they are alike, unless it has parts for the second."""
    second = {name for name in base.layers if name.startswith("transformer_2.")}
    if second and not second & matrices.keys():
        twins = {name: name.replace("transformer.", "transformer_2.", 1) for name in matrices}
        matrices |= {twin: matrices[name] for name, twin in twins.items() if base.layers.get(twin) == base.layers[name]}
    return Adapter(matrices)
