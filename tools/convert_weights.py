"""Turns published pickles into safetensors files with the same names, offline: `python -m tools.convert_weights SOURCE TARGET`.

Servers never open a pickle, since opening one can run code. This reads it with `weights_only=True`, which builds tensors and plain
containers and refuses everything else. Nested dicts are joined by dots, as the loaders expect:

    InstantX/InstantID  ip-adapter.bin                 → ip-adapter.safetensors                (image_proj.…, ip_adapter.…)
    QuanSun/EVA-CLIP    EVA02_CLIP_L_336_psz14_s6B.pt  → EVA02_CLIP_L_336_psz14_s6B.safetensors  (--only visual.)
    facexlib            parsing_bisenet.pth            → parsing_bisenet.safetensors
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def tensors(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor in nested dicts with its dotted name; anything else (a step counter, a configuration) is left out."""
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from tensors(inner, f"{name}.{key}" if name else str(key))


def convert(source: Path, target: Path, only: str = "") -> int:
    """Write the tensors of the pickle `source` whose names start with `only` to `target`; returns how many."""
    import torch
    from safetensors.torch import save_file

    loaded = torch.load(source, map_location="cpu", weights_only=True)
    # Cloned, because safetensors stores no two names on one memory.
    found = {name: tensor.detach().clone().contiguous() for name, tensor in tensors(loaded) if name.startswith(only)}
    if not found:
        raise ValueError(f"{source.name} holds no tensors" + (f" named {only}…" if only else ""))
    partial = target.with_name(target.name + ".partial")
    save_file(found, partial, metadata={"format": "pt", "source": source.name})
    partial.rename(target)
    return len(found)


def main(arguments: list[str]) -> None:
    """Convert one file as told on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.convert_weights", description="Convert a pickle of weights to safetensors.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--only", default="", metavar="PREFIX", help="keep only tensors whose name starts with this")
    given = parser.parse_args(arguments)
    if given.target.suffix != ".safetensors":
        parser.error(f"the target must end in .safetensors, got {given.target.name}")
    count = convert(given.source, given.target, given.only)
    print(f"{count} tensors written to {given.target}")


if __name__ == "__main__":
    main(sys.argv[1:])
