"""What a place demands of face swaps: plain data that runners are built with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

GateMode: TypeAlias = Literal["off", "auto", "required"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyRules:
    """Rules of one place.

    gallery: file of registered personas and blocked faces (`models/faceswap/safety/gallery.py`); None for neither.
    nsfw, minors: gates on targets and sources. "auto" uses one where its weights are installed and says so where not; "required" refuses
        every swap without; "off" asks none.
    watermark: whether swapped frames carry an invisible mark.
    """

    gallery: Path | None = None
    nsfw: GateMode = "auto"
    minors: GateMode = "auto"
    watermark: bool = False
