"""Loads a diffusers pipeline from a local folder in the published layout: safetensors only, and no weight left at random."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models.errors import WeightsMissing


def pipeline(
    kind: type[Any],
    folder: Path,
    dtype_of: Callable[[str], Any],
    *,
    exact: bool = False,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """The pipeline class `kind`, built from `folder`.

    dtype_of: number format of a component, by its name. exact: text encoders too may hold no tensor that has no place; old checkpoints
    hold buffers that the library no longer keeps. settings: of the pipeline itself. options: of its networks, like `variant`.
    Raises WeightsMissing when a file is absent or does not fit.
    """
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    networks = {name: entry for name, entry in _index(folder).items() if (folder / name / "config.json").is_file()}
    parts = {name: _network(folder / name, *entry, dtype_of(name), exact, options) for name, entry in networks.items()}
    try:
        return kind.from_pretrained(folder, **parts, **(settings or {}), local_files_only=True, use_safetensors=True)
    except OSError as error:
        raise WeightsMissing(f"{folder.name} is not a whole checkpoint: {error}") from error


def _index(folder: Path) -> dict[str, tuple[str, str]]:
    """Library and class of each component that the checkpoint has."""
    path = folder / "model_index.json"
    if not path.is_file():
        raise WeightsMissing(f"{folder.name} holds no model_index.json, so it is not a diffusers checkpoint")
    entries = {name: entry for name, entry in json.loads(path.read_text()).items() if isinstance(entry, list)}
    return {name: (str(library), str(kind)) for name, (library, kind) in entries.items() if kind is not None}


def _network(folder: Path, library: str, kind: str, dtype: Any, exact: bool, options: dict[str, Any]) -> Any:
    """One network, loaded so that nothing is left at random."""
    import diffusers
    import transformers

    source = {"diffusers": diffusers, "transformers": transformers}[library]
    try:
        model, report = getattr(source, kind).from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsMissing(f"{folder.parent.name}/{folder.name} cannot be loaded from safetensors: {error}") from error
    for fault in ("missing_keys", "mismatched_keys", *(("unexpected_keys",) if exact or library == "diffusers" else ())):
        if report[fault]:
            raise WeightsMissing(f"{folder.parent.name}/{folder.name} does not fit {kind}: {fault} {sorted(map(str, report[fault]))[:3]}")
    return model.eval().requires_grad_(False)
