"""InstantID on SDXL pipelines: a resampler's face tokens for the UNet, and a ControlNet that puts the face in its place.

Wang et al., "InstantID: Zero-shot Identity-Preserving Generation in Seconds", 2024. All networks are diffusers' own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.identity.face_input import FaceFeatures
from models.identity.keypoints import draw_keypoints, fit_keypoints
from models.safe_files import only_safetensors
from models.strict import fitting, network
from models.task import FaceToImage

ADAPTER_FILE = "ip-adapter.safetensors"  # published as a pickle, ip-adapter.bin; tools/convert_weights.py makes this of it


class InstantId:
    """InstantID's weights, shared by all UNets of one family. `folder` has the published layout, its pickle converted.

    From `fit` on, every run on a UNet must carry `arguments` or `no_face`.
    """

    def __init__(self, folder: Path, device: str, dtype: Any) -> None:
        """Raises WeightsMissing when a file is absent or does not fit."""
        from safetensors.torch import load_file

        from models.identity.control import FaceControlNet

        self.controlnet = network(FaceControlNet, folder / "ControlNetModel", dtype).to(device)
        weights = load_file(only_safetensors(folder, ADAPTER_FILE))
        self._adapter = {part: _without_prefix(weights, f"{part}.") for part in ("image_proj", "ip_adapter")}
        self._fitted: Any = None
        self._strengths: Any = None

    def fit(self, pipe: Any) -> None:
        """Let the UNet of `pipe` attend to faces. The first one loads the adapter, the others share its modules.

        Raises WeightsMissing when the adapter's file does not fit.
        """
        unet = pipe.unet
        if self._fitted is None:
            with fitting(ADAPTER_FILE):
                unet._load_ip_adapter_weights([self._adapter])  # what `load_ip_adapter` does, without its search for an image encoder
            self._adapter.clear()
            self._fitted = unet
            for processor in unet.attn_processors.values():
                for values in getattr(processor, "to_v_ip", ()):
                    values.register_forward_hook(self._weigh)
            return
        unet.encoder_hid_proj = self._fitted.encoder_hid_proj
        unet.config.encoder_hid_dim_type = self._fitted.config.encoder_hid_dim_type
        unet.set_attn_processor(dict(self._fitted.attn_processors))

    def no_face(self, pipe: Any, count: int, guided: bool) -> dict[str, Any]:
        """Arguments of a run without faces: the adapter is skipped."""
        pipe.set_ip_adapter_scale(0.0)
        return {"ip_adapter_image_embeds": [self._rows(np.zeros((count, 512), np.float32), guided)]}

    def arguments(self, pipe: Any, tasks: Sequence[FaceToImage], faces: Sequence[FaceFeatures], guided: bool) -> dict[str, Any]:
        """Arguments of a run that gives each item its own face; `guided`: with CFG. Tasks share size and what the ControlNet is told."""
        import torch

        shared = tasks[0]
        pipe.set_ip_adapter_scale(1.0)
        rows = self._rows(np.stack([face.embedding for face in faces]), guided)
        (resampler,) = self._fitted.encoder_hid_proj.image_projection_layers
        with torch.no_grad():
            self.controlnet.face_tokens = resampler(rows[:, 0])
        strengths = torch.tensor([task.strength for task in tasks], device=rows.device, dtype=rows.dtype)
        self._strengths = strengths.repeat(2 if guided else 1)[:, None, None, None]  # (B or 2B, 1, 1, 1), for (…, pictures, tokens, width)
        places = np.stack([_place(task, face) for task, face in zip(tasks, faces, strict=True)])
        return {
            "ip_adapter_image_embeds": [rows],
            "image": torch.from_numpy(places.transpose(0, 3, 1, 2) / np.float32(255)),
            "controlnet_conditioning_scale": shared.controlnet_strength,
            "control_guidance_start": shared.start,
            "control_guidance_end": shared.end,
        }

    def _weigh(self, module: Any, inputs: Any, values: Any) -> Any:
        """Attention is linear in its values, so an item's strength may act on them.

        The adapter's own scale is one number for the whole batch, and in a compiled UNet every new number compiles anew.
        """
        return values * self._strengths

    def _rows(self, embeddings: Any, guided: bool) -> Any:
        """(B, 512) to (B, 1, 1, 512), with guidance (2B, 1, 1, 512): no face first, for the negative half."""
        import torch

        rows = torch.from_numpy(embeddings).to(self.controlnet.device, self.controlnet.dtype)
        return (torch.cat([torch.zeros_like(rows), rows]) if guided else rows)[:, None, None]


def _place(task: FaceToImage, face: FaceFeatures) -> Any:
    """The picture of keypoints at the size of the result."""
    height, width = task.face.shape[:2]
    points = fit_keypoints(face.keypoints, face.box, (width, height), (task.width, task.height))
    return draw_keypoints(points, task.width, task.height)


def _without_prefix(weights: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
