"""Tasks with and without a face for the toy Flux and SDXL, and how what comes out is compared."""

from models.runner import Call
from models.task import FaceToImage, TextToImage
from tests.models.identity.seeded_reader import picture

BASE = {"seed": 1, "prompt": "a red fox", "width": 64, "height": 48, "steps": 3}


def plain(**changes):
    return TextToImage(**(BASE | changes))


def faced(method, person=1, **changes):
    return FaceToImage(**(BASE | {"face": picture(person), "method": method} | changes))


def values(runner, *tasks):
    """The pictures of `tasks` in one batch, (B, 3, H, W) in 0..1."""
    return runner.pictures(tasks, [Call() for _ in tasks])


def distance(one, other):
    """The largest difference of two tensors of pictures."""
    return float((one - other).abs().max())
