"""Converts the authors' files to safetensors with the same names: `python -m models.seedvr2.convert FOLDER`.

Done once by whoever installs the weights. The server itself never opens a pickle; this reads them with torch's restricted
unpickler, which builds tensors and nothing else.
"""

import argparse
from pathlib import Path
from typing import Any

AUTHORS_FILES = ("seedvr2_ema_3b.pth", "seedvr2_ema_7b.pth", "seedvr2_ema_7b_sharp.pth", "ema_vae.pth", "pos_emb.pt")
PROMPT_KEY = "embedding"


def convert(source: Path) -> Path:
    """Write `source` as safetensors beside it, and return where. Numbers keep their precision."""
    import torch
    from safetensors.torch import save_file

    loaded: Any = torch.load(source, map_location="cpu", weights_only=True)
    tensors = {PROMPT_KEY: loaded} if isinstance(loaded, torch.Tensor) else loaded
    target = source.with_suffix(".safetensors")
    partial = target.with_suffix(".partial")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial, metadata={"format": "pt"})
    return partial.replace(target)


def main() -> None:
    """Convert what there is of the authors' files in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    sources = [folder / name for name in AUTHORS_FILES if (folder / name).is_file()]
    if not sources:
        parser.error(f"none of {', '.join(AUTHORS_FILES)} in {folder}")
    for source in sources:
        print(convert(source))


if __name__ == "__main__":
    main()
