"""Toy checkpoints of the Flux family in the layout of the published repositories: real classes, small shapes, seeded random weights."""

from pathlib import Path
from typing import Any

from models.tiny.clip import clip_text, clip_tokenizer
from models.tiny.seeding import seeded


def build_schnell(into: Path) -> None:
    """FLUX.1-schnell: no guidance embedding, unshifted schedule."""
    _build(into, guidance=False, shift=False)


def build_dev(into: Path) -> None:
    """FLUX.1-dev: guidance embedding, schedule shifted by the picture's size."""
    _build(into, guidance=True, shift=True)


def _build(into: Path, *, guidance: bool, shift: bool) -> None:
    with seeded(0):
        from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
        from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

        pipe = FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0 if shift else 1.0, use_dynamic_shifting=shift),
            vae=flux_vae(),
            text_encoder=clip_text(),
            tokenizer=clip_tokenizer(),
            text_encoder_2=_t5(),
            tokenizer_2=_t5_tokenizer(),
            transformer=_transformer(guidance),
        )
    pipe.save_pretrained(into)


def _transformer(guidance: bool) -> Any:
    from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel

    return FluxTransformer2DModel(
        in_channels=16,  # 4 latent channels, packed 2x2
        num_layers=3,
        num_single_layers=5,
        num_attention_heads=2,
        attention_head_dim=16,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        guidance_embeds=guidance,
        axes_dims_rope=(4, 6, 6),
    )


def flux_vae() -> Any:
    """Flux's autoencoder at toy size; Z-Image ships the same one."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    config = {
        "block_out_channels": (8, 8, 16, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "shift_factor": 0.1159,
        "scaling_factor": 0.3611,
    }
    return AutoencoderKL.from_config(config)


def _t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(_t5_tokenizer()),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        use_cache=False,
    )
    return T5EncoderModel(config)


def _t5_tokenizer() -> Any:
    """A T5 tokenizer whose pieces are the printable ASCII characters."""
    from transformers import T5Tokenizer

    pieces = ["<pad>", "</s>", "<unk>", "▁", *(chr(code) for code in range(33, 127))]
    return T5Tokenizer(vocab=[(piece, 0.0 if index < 3 else -2.0) for index, piece in enumerate(pieces)], extra_ids=0, model_max_length=512)
