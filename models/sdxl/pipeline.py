"""The SDXL pipelines with the one change that lets several faces share a batch."""

from typing import Any

from diffusers.pipelines.controlnet.pipeline_controlnet_sd_xl import StableDiffusionXLControlNetPipeline  # noqa: TID253
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline  # noqa: TID253


class _OwnFaces:
    """Image embeddings belong to one item each."""

    def prepare_ip_adapter_image_embeds(
        self,
        ip_adapter_image: Any,
        ip_adapter_image_embeds: list[Any] | None,
        device: Any,
        num_images_per_prompt: int,
        do_classifier_free_guidance: bool,
    ) -> list[Any]:
        """Return `ip_adapter_image_embeds` as they are: a tensor an adapter, (B, 1, 1, D), or (2B, 1, 1, D) with guidance, zeros first.

        The parents repeat them once per item and fold the repeats into the tokens, so each item would attend to all faces of the
        batch without an error (diffusers 0.42).
        """
        if ip_adapter_image_embeds is None:
            raise ValueError("embed the face first: this pipeline takes embeddings only")
        return [rows.to(device) for rows in ip_adapter_image_embeds]


class FacePipeline(_OwnFaces, StableDiffusionXLPipeline):
    """StableDiffusionXLPipeline for batches of faces."""


class FaceControlPipeline(_OwnFaces, StableDiffusionXLControlNetPipeline):
    """StableDiffusionXLControlNetPipeline for batches of faces."""
