"""Toy checkpoints of the SDXL family in the layout of the published repositories: real classes, small shapes, seeded random weights."""

from pathlib import Path
from typing import Any

from models.tiny.clip import clip_text, clip_tokenizer
from models.tiny.ldm import ldm_names
from models.tiny.seeding import seeded

_SCHEDULE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
TEXT_WIDTH = 32 + 48  # of both text encoders together


def build_base(into: Path) -> None:
    """stable-diffusion-xl-base-1.0."""
    with seeded(0):
        _pipeline().save_pretrained(into)


def build_turbo(into: Path) -> None:
    """sdxl-turbo: the base's shapes with its own weights and an ancestral scheduler."""
    with seeded(1):
        from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler

        pipe = _pipeline()
        pipe.register_modules(scheduler=EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **_SCHEDULE))
        pipe.save_pretrained(into)


def build_lightning(into: Path) -> None:
    """SDXL-Lightning: a UNet for four steps under diffusers' names, to be put into the base."""
    from safetensors.torch import save_file

    into.mkdir(parents=True, exist_ok=True)
    with seeded(2):
        save_file(unet().state_dict(), into / "sdxl_lightning_4step_unet.safetensors")


def build_single_file(into: Path, name: str, seed: int) -> None:
    """A community checkpoint: one file with all parts under the names of the original research code."""
    from safetensors.torch import save_file

    into.mkdir(parents=True, exist_ok=True)
    with seeded(seed):
        save_file(ldm_names(_pipeline()), into / f"{name}.safetensors")


def _pipeline() -> Any:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    scheduler: Any = EulerDiscreteScheduler(timestep_spacing="leading", **_SCHEDULE)
    return StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=clip_text(),
        text_encoder_2=clip_text(width=48, layers=10, projected=True),  # ten, for loaders know SDXL by that layer's name
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet(),
        scheduler=scheduler,
        add_watermarker=False,
    )


def unet() -> Any:
    """A UNet with fresh weights."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    config = unet_shapes() | {
        "in_channels": 4,
        "out_channels": 4,
        "sample_size": 8,
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    }
    return UNet2DConditionModel.from_config(config)


def unet_shapes() -> dict[str, Any]:
    """What the UNet and a ControlNet for it have in common."""
    return {
        "block_out_channels": (16, 32, 32),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "layers_per_block": 2,
        "transformer_layers_per_block": (1, 1, 2),
        "attention_head_dim": (1, 2, 2),  # number of heads, by a name that history left
        "cross_attention_dim": TEXT_WIDTH,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 48 + 6 * 8,
        "use_linear_projection": True,
        "norm_num_groups": 8,
    }


def _vae() -> Any:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    config = {
        "block_out_channels": (8, 8, 16, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "scaling_factor": 0.13025,
    }
    return AutoencoderKL.from_config(config)
