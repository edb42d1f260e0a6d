"""The Flux pipeline with the one change that lets several faces share a batch."""

from typing import Any

from diffusers.pipelines.flux.pipeline_flux import FluxPipeline  # noqa: TID253 (only imported inside functions)


class FacePipeline(FluxPipeline):
    """FluxPipeline whose image embeddings belong to one item each."""

    def prepare_ip_adapter_image_embeds(
        self, ip_adapter_image: Any, ip_adapter_image_embeds: list[Any] | None, device: Any, num_images_per_prompt: int
    ) -> list[Any]:
        """Return `ip_adapter_image_embeds`, one tensor (B, 1, D) an adapter, as they are.

        The parent repeats them once per item and folds the repeats into the tokens, so each item would attend to all faces of the
        batch without an error (diffusers 0.42).
        """
        if ip_adapter_image_embeds is None:
            raise ValueError("embed the face first: this pipeline takes embeddings only")
        return [rows.to(device) for rows in ip_adapter_image_embeds]
