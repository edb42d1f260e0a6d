"""Loads diffusers pipelines and networks from local folders in the published layout: safetensors only, and no weight left at random."""

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
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
    """One network of a pipeline."""
    import diffusers
    import transformers

    source = {"diffusers": diffusers, "transformers": transformers}[library]
    return network(getattr(source, kind), folder, dtype, exact=exact or library == "diffusers", **options)


def network(kind: type[Any], folder: Path, dtype: Any, *, exact: bool = True, unread: tuple[str, ...] = (), **options: Any) -> Any:
    """The network class `kind` of diffusers or transformers, loaded from `folder` so that nothing is left at random.

    exact: no tensor may be without a place either, but those whose names begin with one of `unread`.
    Raises WeightsMissing when a file is absent or does not fit.
    """
    name = f"{folder.parent.name}/{folder.name}"
    try:
        model, report = kind.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsMissing(f"{name} cannot be loaded from safetensors: {error}") from error
    surplus = [key for key in map(str, report["unexpected_keys"]) if exact and not key.startswith(unread)]
    faults = {**report, "unexpected_keys": surplus}
    for fault in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if faults[fault]:
            raise WeightsMissing(f"{name} does not fit {kind.__name__}: {fault} {sorted(map(str, faults[fault]))[:3]}")
    return model.eval().requires_grad_(False)


@contextmanager
def fitting(name: str) -> Generator[None]:
    """What libraries raise on a file without all tensors of the published one, or with others, becomes WeightsMissing naming the file."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        raise WeightsMissing(f"{name} does not fit the network it is for: {' '.join(str(error).split())[:300]}") from error
