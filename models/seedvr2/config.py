"""Sizes of the published SeedVR2 networks, and the files they are published in.

The published repositories carry no description of the architecture, so it is fixed here by file name. A transformer with a
`seedvr2.json` beside it (the toy checkpoint of the `tiny` profile) is of the sizes written there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeAlias

from models.errors import WeightsMissing

Rope: TypeAlias = Literal["joint", "window"]  # joint: text and video share positions (3B); window: video alone, −1..1 (7B)
Mlp: TypeAlias = Literal["swiglu", "gelu"]

LATENT_CHANNELS = 16
LATENT_SCALE = 0.9152  # VAE latents are multiplied by this before the transformer sees them
SPATIAL = 8  # pixels a latent, along height and width
TEMPORAL = 4  # frames a latent after the first, which holds one frame
PATCH = 2  # latents a token, along height and width


@dataclass(frozen=True, slots=True, kw_only=True)
class DitConfig:
    """The transformer. `separate_layers` blocks have own weights for text and video, the blocks after them share one set."""

    dim: int
    heads: int
    layers: int
    separate_layers: int
    mlp: Mlp
    rope: Rope
    head_dim: int = 128
    text_dim: int = 5120
    norm_eps: float = 1e-5
    # The 3B variant modulates its output once more, and its last block neither modulates nor feeds forward the text.
    refined_output: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeConfig:
    """The causal video autoencoder: an SD3 image autoencoder with time."""

    channels: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2
    groups: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One published network: its sizes, and the names its transformer is published under, best first."""

    dit: DitConfig
    vae: VaeConfig
    files: tuple[str, ...]


SEEDVR2_3B = Variant(
    dit=DitConfig(dim=2560, heads=20, layers=32, separate_layers=10, mlp="swiglu", rope="joint", refined_output=True),
    vae=VaeConfig(),
    files=("seedvr2_ema_3b_fp16.safetensors", "seedvr2_ema_3b.safetensors"),
)
SEEDVR2_7B = Variant(
    dit=DitConfig(dim=3072, heads=24, layers=36, separate_layers=36, mlp="gelu", rope="window", refined_output=False),
    vae=VaeConfig(),
    files=("seedvr2_ema_7b_fp16.safetensors", "seedvr2_ema_7b.safetensors"),
)
VARIANTS = (SEEDVR2_3B, SEEDVR2_7B)
VAE_FILES = ("ema_vae_fp16.safetensors", "ema_vae.safetensors")
PROMPT_FILES = ("pos_emb.safetensors",)
DESCRIPTION = "seedvr2.json"  # beside the transformer: {"dit": {…}, "vae": {…}}, the fields of the two configs
UNSAFE = frozenset({".pth", ".pt", ".ckpt", ".bin"})  # pickles


@dataclass(frozen=True, slots=True)
class Files:
    """Where the three parts lie, and the sizes of the networks in them."""

    dit: Path
    vae: Path
    prompt: Path
    dit_config: DitConfig
    vae_config: VaeConfig


def find(folders: Sequence[Path]) -> Files:
    """Look for a published SeedVR2 in `folders`, each part in any of them. Raises WeightsMissing, naming the files that are expected."""
    dit = _first(folders, tuple(name for variant in VARIANTS for name in variant.files))
    variant = next(variant for variant in VARIANTS if dit.name in variant.files)
    sizes = _described(dit.with_name(DESCRIPTION)) or (variant.dit, variant.vae)
    return Files(
        dit=dit,
        vae=_first(folders, VAE_FILES),
        prompt=_first(folders, PROMPT_FILES),
        dit_config=sizes[0],
        vae_config=sizes[1],
    )


def _described(path: Path) -> tuple[DitConfig, VaeConfig] | None:
    if not path.is_file():
        return None
    sizes: dict[str, Any] = json.loads(path.read_text())
    return DitConfig(**sizes["dit"]), VaeConfig(**sizes["vae"] | {"channels": tuple(sizes["vae"]["channels"])})


def _first(folders: Sequence[Path], names: tuple[str, ...]) -> Path:
    for folder, name in product(folders, names):
        if (folder / name).is_file():
            return folder / name
    unsafe = sorted(path.name for folder in folders for path in folder.iterdir() if path.suffix in UNSAFE)
    hint = f"; {', '.join(unsafe)} can run code and cannot be loaded: convert with `python -m models.seedvr2.convert`" if unsafe else ""
    raise WeightsMissing(f"SeedVR2 needs {' or '.join(names)} in {', '.join(folder.name for folder in folders)}{hint}")
