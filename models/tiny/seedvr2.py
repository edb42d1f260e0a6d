"""Toy SeedVR2 checkpoints: the published files and names, random weights."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeAlias

Variant: TypeAlias = Literal["3b", "7b"]

PROMPT_TOKENS = 8
TEXT_CHANNELS = 24


def build(into: Path, variant: Variant = "3b") -> None:
    """Write a toy checkpoint to the folder `into`; the same bytes each time."""
    import torch
    from safetensors.torch import save_file

    from models.seedvr2.config import DESCRIPTION, PROMPT_FILES, SEEDVR2_3B, SEEDVR2_7B, VAE_FILES, DitConfig, VaeConfig
    from models.seedvr2.dit import SeedVR2Transformer
    from models.seedvr2.vae import SeedVR2Autoencoder

    into.mkdir(parents=True, exist_ok=True)
    published = {"3b": SEEDVR2_3B, "7b": SEEDVR2_7B}[variant]
    dit = DitConfig(
        dim=48,
        heads=2,
        head_dim=24,
        layers=4,
        separate_layers=2 if variant == "3b" else 4,
        mlp=published.dit.mlp,
        rope=published.dit.rope,
        text_dim=TEXT_CHANNELS,
        refined_output=published.dit.refined_output,
    )
    vae = VaeConfig(channels=(8, 16, 16, 16), layers=1, groups=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(SeedVR2Transformer(dit).state_dict(), into / published.files[0])
        save_file(SeedVR2Autoencoder(vae).state_dict(), into / VAE_FILES[0])
        save_file({"embedding": torch.randn(PROMPT_TOKENS, TEXT_CHANNELS)}, into / PROMPT_FILES[0])
    (into / DESCRIPTION).write_text(json.dumps({"dit": asdict(dit), "vae": asdict(vae)}))


def build_7b(into: Path) -> None:
    """Write the toy of the 7B layout."""
    build(into, "7b")
