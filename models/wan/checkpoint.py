"""Loads a Wan pipeline from a local folder in the published layout: safetensors only, every name and shape accounted for."""

import json
from pathlib import Path
from typing import Any

from models.denoise import Dtype, dtype_on
from models.errors import WeightsMissing
from models.torchvision_ops import declare

# Number format on a card, by component. The VAE decides the picture's fine detail, and in bf16 it shows.
_FORMATS: dict[str, Dtype] = {"text_encoder": "bfloat16", "transformer": "bfloat16", "transformer_2": "bfloat16", "vae": "float32"}


def load(pipeline: str, folder: Path, device: str) -> Any:
    """The diffusers pipeline class named `pipeline`, built from `folder`. Raises WeightsMissing when a file is absent or does not fit."""
    declare()
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    index = _index(folder)
    parts = {name: _component(folder / name, *index[name], dtype_on(device, form)) for name, form in _FORMATS.items() if name in index}
    try:
        return getattr(diffusers, pipeline).from_pretrained(folder, **parts, local_files_only=True, use_safetensors=True)
    except OSError as error:
        raise WeightsMissing(f"{folder.name} is not a whole checkpoint: {error}") from error


def _index(folder: Path) -> dict[str, tuple[str, str]]:
    """Library and class of each component that the checkpoint has."""
    path = folder / "model_index.json"
    if not path.is_file():
        raise WeightsMissing(f"{folder.name} holds no model_index.json, so it is not a diffusers checkpoint")
    entries = {name: entry for name, entry in json.loads(path.read_text()).items() if isinstance(entry, list)}
    return {name: (str(library), str(kind)) for name, (library, kind) in entries.items() if kind is not None}


def _component(folder: Path, library: str, kind: str, dtype: Any) -> Any:
    """One model, loaded so that nothing is left at random and nothing is passed over."""
    import diffusers
    import transformers

    source = {"diffusers": diffusers, "transformers": transformers}[library]
    try:
        model, report = getattr(source, kind).from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsMissing(f"{folder.parent.name}/{folder.name} cannot be loaded from safetensors: {error}") from error
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[fault]:
            raise WeightsMissing(f"{folder.parent.name}/{folder.name} does not fit {kind}: {fault} {sorted(map(str, report[fault]))[:3]}")
    return model.eval().requires_grad_(False)
