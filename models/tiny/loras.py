"""Toy LoRAs that ship with a model, in the formats they are published in."""

from pathlib import Path

from models.tiny.seeding import seeded

_RANK = 4


def build_realism(into: Path) -> None:
    """XLabs-AI/flux-RealismLora for the double blocks of the toy Flux, under XLabs' own names."""
    width = 32
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(3):
        for stream in (1, 2):  # picture and text
            for part, rows in (("qkv", 3 * width), ("proj", width)):
                name = f"double_blocks.{block}.processor.{part}_lora{stream}"
                shapes |= {f"{name}.down.weight": (_RANK, width), f"{name}.up.weight": (rows, _RANK)}
    save(shapes, into / "lora.safetensors", seed=8)


def save(shapes: dict[str, tuple[int, ...]], file: Path, seed: int) -> None:
    """Seeded matrices of about the size that training leaves; a number, as alpha is, is the rank."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    with seeded(seed):
        import torch

        tensors = {name: torch.randn(shape) / shape[1] ** 0.5 if shape else torch.tensor(float(_RANK)) for name, shape in shapes.items()}
    save_file(tensors, file)
