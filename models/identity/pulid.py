"""PuLID on a Flux pipeline: a face becomes tokens, and the transformer sees them while it denoises."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from models.denoise import StepHook
from models.errors import WeightsMissing
from models.identity.eva import EvaTower
from models.identity.face_input import FaceFeatures
from models.identity.injection import Injection, Worn
from models.identity.portrait import FaceMask, OvalMask, portrait
from models.strict import fitting
from models.task import FaceToImage

FILES = ("pulid_flux_v0.9.1.safetensors", "pulid_flux_v0.9.0.safetensors")


class Pulid:
    """PuLID's networks, hung on one transformer. `folder` holds the published file, `tower_folder` the vision tower."""

    def __init__(self, transformer: Any, folder: Path, tower_folder: Path, mask: FaceMask | None = None) -> None:
        from safetensors.torch import load_file

        from models.identity.pulid_encoder import load

        file = next((folder / name for name in FILES if (folder / name).exists()), None)
        if file is None:
            raise WeightsMissing(f"{folder.name} holds none of {', '.join(FILES)}")
        device, dtype = str(transformer.device), transformer.dtype
        with fitting(file.name):
            self.encoder, attentions = load(load_file(file), device, dtype)
        self.tower = EvaTower(tower_folder, device, dtype)
        self.mask = mask or OvalMask()
        self.injection = Injection(transformer, attentions)

    def tokens(self, portraits: Sequence[Any], embeddings: Any) -> Any:
        """Identity tokens (2, B, 32, 2048): those of the faces, and those of no face at all for the negative pass of true CFG."""
        import torch

        vectors, levels = self.tower.see(portraits)
        identity = torch.cat([torch.from_numpy(embeddings).to(vectors), vectors], dim=-1)  # (B, 512 + 768)
        with torch.no_grad():
            faces = self.encoder(identity, levels)
            nobody = self.encoder(torch.zeros_like(identity), [torch.zeros_like(level) for level in levels])
        return torch.stack([faces, nobody])

    @contextmanager
    def wearing(self, tasks: Sequence[FaceToImage], faces: Sequence[FaceFeatures]) -> Generator[StepHook]:
        """Show a face to each item of the runs inside; yields what to call after each step. Tasks share steps, start and end."""
        import torch

        portraits = [portrait(task.face, face.keypoints, self.mask) for task, face in zip(tasks, faces, strict=True)]
        tokens = self.tokens(portraits, np.stack([face.embedding for face in faces]))
        strengths = torch.tensor([task.strength for task in tasks], device=tokens.device, dtype=tokens.dtype)
        shared = tasks[0]
        first, last = (round(share * shared.steps) for share in (shared.start, shared.end))
        with self.injection.wearing(Worn(tokens, strengths[:, None, None], first, last)):
            yield self.injection.finished
