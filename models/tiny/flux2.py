"""Toy checkpoint of FLUX.2 klein in the layout of the published repository: real classes, small shapes, seeded random weights."""

from pathlib import Path
from typing import Any

from models.tiny.qwen import qwen3, qwen_tokenizer
from models.tiny.seeding import seeded

_TEXT_WIDTH = 32
_LATENTS = 4


def build_klein(into: Path) -> None:
    """FLUX.2-klein-4B: distilled, without a guidance embedding."""
    with seeded(0):
        from diffusers.models.transformers.transformer_flux2 import Flux2Transformer2DModel
        from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline
        from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

        transformer: Any = Flux2Transformer2DModel(
            in_channels=4 * _LATENTS,  # packed 2x2
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * _TEXT_WIDTH,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        )
        pipe = Flux2KleinPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
            vae=_vae(),
            text_encoder=qwen3(layers=28, width=_TEXT_WIDTH, causal=True),  # the pipeline reads layers 9, 18 and 27
            tokenizer=qwen_tokenizer(),
            transformer=transformer,
            is_distilled=True,
        )
    pipe.save_pretrained(into)


def _vae() -> Any:
    from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2

    config = {
        "block_out_channels": (8, 8, 16, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 1,
        "latent_channels": _LATENTS,
        "norm_num_groups": 4,
    }
    return AutoencoderKLFlux2.from_config(config)
