"""XLabs' IP-Adapter on a Flux pipeline: CLIP looks at the head, and the double blocks attend to what it sees."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.identity.clip import clip_input
from models.safe_files import only_safetensors
from models.strict import fitting, network
from models.task import Image

FILE = "ip_adapter.safetensors"
# What the published CLIP holds beside its vision tower: the text tower, and a buffer that the library no longer keeps.
_UNREAD = ("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids")


class IpAdapter:
    """The adapter on one pipeline. `folder` holds XLabs' file, `vision_folder` CLIP-L, both as published.

    From then on every run must carry `arguments`, those without a face, too.
    """

    def __init__(self, pipe: Any, folder: Path, vision_folder: Path) -> None:
        """Raises WeightsMissing when a file is absent or does not fit."""
        from transformers import CLIPVisionModelWithProjection

        only_safetensors(folder, FILE)
        transformer = pipe.transformer
        vision = network(CLIPVisionModelWithProjection, vision_folder, transformer.dtype, unread=_UNREAD)
        pipe.register_modules(image_encoder=vision.to(transformer.device))
        with fitting(FILE):
            pipe.load_ip_adapter(folder, weight_name=FILE, image_encoder_pretrained_model_name_or_path=None)
        self.vision = pipe.image_encoder
        self.processors = [processor for processor in transformer.attn_processors.values() if hasattr(processor, "to_k_ip")]
        self._black = self.embed([np.zeros((8, 8, 3), np.uint8)])

    def embed(self, pictures: Sequence[Image]) -> Any:
        """CLIP embeddings (B, 768) of square pictures."""
        import torch

        images = torch.from_numpy(np.stack([clip_input(picture, self.vision.config.image_size) for picture in pictures]))
        with torch.no_grad():
            return self.vision(images.to(self.vision.device, self.vision.dtype)).image_embeds

    def arguments(self, crops: Sequence[Image], strengths: Sequence[float]) -> dict[str, Any]:
        """Sets the strength of each item and returns what the pipeline must be called with; the negative pass sees black."""
        embeddings = self.embed(crops)
        self._weigh(strengths)
        black = self._black.expand_as(embeddings)
        return {"ip_adapter_image_embeds": [embeddings[:, None]], "negative_ip_adapter_image_embeds": [black[:, None]]}

    def no_face(self, count: int) -> dict[str, Any]:
        """The arguments of a run of `count` items without faces: the adapter adds exact zeros to it."""
        self._weigh([0.0] * count)
        nothing = self._black.expand(count, -1)[:, None] * 0
        return {"ip_adapter_image_embeds": [nothing], "negative_ip_adapter_image_embeds": [nothing]}

    def _weigh(self, strengths: Sequence[float]) -> None:
        """A tensor, not a number: items of a batch may differ, and a new strength compiles nothing anew."""
        import torch

        weights = torch.tensor(strengths, device=self.vision.device, dtype=self.vision.dtype)[:, None, None]  # (B, 1, 1)
        for processor in self.processors:
            processor.scale = [weights]
