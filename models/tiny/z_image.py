"""Toy checkpoint of Z-Image in the layout of the published repository: real classes, small shapes, seeded random weights."""

from pathlib import Path
from typing import Any

from models.tiny.flux import flux_vae
from models.tiny.qwen import qwen3, qwen_tokenizer
from models.tiny.seeding import seeded

_TEXT_WIDTH = 32


def build_turbo(into: Path) -> None:
    """Z-Image-Turbo."""
    with seeded(0):
        from diffusers.pipelines.z_image.pipeline_z_image import ZImagePipeline
        from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

        pipe = ZImagePipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=flux_vae(),
            text_encoder=qwen3(width=_TEXT_WIDTH),
            tokenizer=qwen_tokenizer(),
            transformer=_transformer(),
        )
    pipe.save_pretrained(into)


def _transformer() -> Any:
    import torch
    from diffusers.models.transformers.transformer_z_image import ZImageTransformer2DModel

    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=_TEXT_WIDTH,
        axes_dims=[4, 6, 6],
        axes_lens=[1024, 512, 512],
    )
    for token in (transformer.x_pad_token, transformer.cap_pad_token):  # the class leaves them as whatever lay in memory
        torch.nn.init.normal_(token, std=0.02)
    return transformer
