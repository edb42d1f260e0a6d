"""The EVA02-CLIP-L/14-336 vision tower that PuLID looks at faces with, by timm."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import WeightsMissing
from models.identity.clip import clip_input
from models.strict import fitting
from models.task import Image
from models.torchvision_ops import declare

_ARCHITECTURE = "eva02_large_patch14_clip_336"
_LEVELS = (3, 7, 11, 15, 19)  # blocks whose output PuLID reads
_CLASS_VECTOR = 768


class EvaTower:
    """Sees pictures. `folder` holds one safetensors file, under timm's names or those of the original (`visual.…`).

    A `config.json` beside it may change the architecture's arguments by `model_args`, as timm's own repositories do.
    """

    def __init__(self, folder: Path, device: str, dtype: Any) -> None:
        declare()
        import timm
        from safetensors.torch import load_file
        from timm.models.eva import checkpoint_filter_fn

        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise WeightsMissing(
                f"{folder.name} holds no safetensors file; convert the published .pt with `python -m tools.convert_weights`"
            )
        config = folder / "config.json"
        arguments: dict[str, Any] = json.loads(config.read_text()).get("model_args", {}) if config.exists() else {}
        self.tower: Any = timm.create_model(_ARCHITECTURE, pretrained=False, num_classes=_CLASS_VECTOR, **arguments)
        with fitting(f"{folder.name}/{files[0].name}"):
            self.tower.load_state_dict(checkpoint_filter_fn(load_file(files[0]), self.tower), strict=True)
        self.tower.to(device, dtype).eval().requires_grad_(False)
        self.side = int(self.tower.patch_embed.img_size[0])

    def see(self, pictures: Sequence[Image]) -> tuple[Any, list[Any]]:
        """Class vectors (B, 768) of unit length, and five levels of features (B, 1 + P, D), the class token first."""
        import torch

        weight = self.tower.patch_embed.proj.weight
        images = torch.from_numpy(np.stack([clip_input(picture, self.side) for picture in pictures]))
        with torch.no_grad():
            last, levels = self.tower.forward_intermediates(
                images.to(weight.device, weight.dtype), indices=list(_LEVELS), return_prefix_tokens=True, norm=False, output_fmt="NLC"
            )
            vectors = self.tower.forward_head(last)
        return torch.nn.functional.normalize(vectors, dim=-1), [torch.cat([prefix, patches], dim=1) for patches, prefix in levels]
