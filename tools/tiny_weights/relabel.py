"""Mends weights of two generations: `python -m tools.tiny_weights.relabel --planner <folder> --renderer <folder>`.

The planner that is shipped was trained when the move's code still stood in the first thirteen channels and was repeated beside the field
to the end. The renderer, trained later, expects the picture's tones there and took the code for a glaring picture. Two changes make
them fit: in the planner those channels change places with the ones that `latents.CODE` names now, which leaves it the same function but for
the picture's own tones, that it has no use for; and the renderer's inputs from the code's channels become zero.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from models.torchvision_ops import declare
from tools.tiny_weights import latents
from tools.tiny_weights.export import tidy
from tools.tiny_weights.train_renderer import blind

FIRST_CODE = slice(0, latents.CODE.stop - latents.CODE.start)  # where the code stood


def exchange(network: Any, one: slice, other: slice) -> None:
    """Exchange two groups of latent channels in what a transformer reads and writes: the same function, its channels renamed."""
    order = torch.arange(latents.CHANNELS)
    order[one], order[other] = order[other].clone(), order[one].clone()
    with torch.no_grad():
        network.patch_embedding.weight.copy_(network.patch_embedding.weight[:, order])
        for written in (network.proj_out.weight, network.proj_out.bias):
            by_place = written.unflatten(0, (-1, latents.CHANNELS))  # four places of a 2 × 2 patch
            written.copy_(by_place[:, order].flatten(0, 1))


def main() -> None:
    """Change both checkpoints where they lie; they keep their number format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--planner", type=Path, required=True)
    parser.add_argument("--renderer", type=Path, required=True)
    given = parser.parse_args()
    declare()
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

    planner, renderer = (WanTransformer3DModel.from_pretrained(folder).half() for folder in (given.planner, given.renderer))
    exchange(planner, FIRST_CODE, latents.CODE)
    blind(renderer)
    for network, folder in ((planner, given.planner), (renderer, given.renderer)):
        network.save_pretrained(folder)
        tidy(folder)


if __name__ == "__main__":
    main()
