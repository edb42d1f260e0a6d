"""Random weights that are the same on every machine."""

from collections.abc import Generator
from contextlib import contextmanager

from models.torchvision_ops import declare


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Torch's random numbers start from `seed` inside, and go on outside as if nothing had been drawn. Import diffusers inside."""
    import torch

    declare()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
