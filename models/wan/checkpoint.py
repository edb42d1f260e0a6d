"""Loads a Wan pipeline from a local folder in the published layout: safetensors only, every name and shape accounted for."""

from pathlib import Path
from typing import Any

from models.denoise import Dtype, dtype_on
from models.strict import pipeline
from models.torchvision_ops import declare

# Number format on a card, by component. The VAE decides the picture's fine detail, and in bf16 it shows.
_FORMATS: dict[str, Dtype] = {"text_encoder": "bfloat16", "transformer": "bfloat16", "transformer_2": "bfloat16", "vae": "float32"}


def load(kind: str, folder: Path, device: str) -> Any:
    """The diffusers pipeline class named `kind`, built from `folder`. Raises WeightsMissing when a file is absent or does not fit."""
    declare()
    import diffusers

    return pipeline(getattr(diffusers, kind), folder, lambda name: dtype_on(device, _FORMATS.get(name, "bfloat16")), exact=True)
