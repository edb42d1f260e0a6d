"""Lets torchvision be imported where its compiled operators do not fit the installed torch.

Diffusers, transformers (fast image processors) and timm import torchvision for its transforms, which are pure Python. The wheels on
the package index are built for CUDA: beside a CPU build of torch their operator library cannot be loaded, and the import then dies
on `torchvision::nms does not exist`. Declaring the schemas of the two operators that the import registers fakes for is enough; nobody
here calls them. Call `declare` before the first import of diffusers, transformers or timm. On a machine with fitting builds it does
nothing but load the library that torchvision would load anyway.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept: list[Any] = []  # a library's schemas live as long as the object


def declare() -> None:
    """Make `import torchvision` work; any number of times, from any thread that imports first."""
    if _kept or "torchvision" in sys.modules:
        return
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return  # not installed: its users have fallbacks
    import torch

    try:
        for compiled in Path(spec.origin).parent.glob("_C*.so"):
            torch.ops.load_library(compiled)
            return
    except OSError:  # built for another torch
        pass
    library = torch.library.Library("torchvision", "DEF")
    _kept.append(library)
    for schema in _SCHEMAS:
        library.define(schema)
