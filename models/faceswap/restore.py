"""The place where a face restorer (GFPGAN, CodeFormer…) sits between painting and pasting. None comes with this code."""

from typing import Protocol

from models.errors import WeightsMissing
from models.faceswap.engine import Patch


class Restorer(Protocol):
    """Sharpens painted faces. Thread-safe."""

    def restore(self, patches: list[Patch], visibility: float) -> list[Patch]:
        """The patches with restored pixels, blended in by `visibility` in 0..1; place, size and alpha stay."""
        ...


def chosen(wanted: bool | None, restorer: Restorer | None) -> Restorer | None:
    """The restorer to use: `wanted` True needs one, None takes one that is there, False none. Raises WeightsMissing."""
    if wanted and restorer is None:
        raise WeightsMissing("restore needs a face restorer and none is installed on this server; leave it out or send false")
    return None if wanted is False else restorer
