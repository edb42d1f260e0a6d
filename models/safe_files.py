"""Weights are read from safetensors alone: a pickle can run code when it is opened."""

from pathlib import Path

from models.errors import WeightsMissing

_UNSAFE = frozenset({".bin", ".pt", ".pth", ".ckpt"})


def only_safetensors(folder: Path, name: str) -> Path:
    """The file `name` in `folder`. Raises WeightsMissing; a pickle in its place is named, never opened."""
    if (folder / name).exists():
        return folder / name
    unsafe = [file.name for file in sorted(folder.glob("*")) if file.suffix in _UNSAFE]
    hint = f"; {unsafe[0]} is a pickle and is not opened: convert it with `python -m tools.convert_weights`" if unsafe else ""
    raise WeightsMissing(f"{name} is not in {folder.name}{hint}")
