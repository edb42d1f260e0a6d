"""Toy checkpoints of Qwen-Image in the layout of the published repositories: real classes, small shapes, seeded random weights."""

from pathlib import Path
from typing import Any

from models.tiny.loras import save
from models.tiny.qwen import qwen_tokenizer
from models.tiny.seeding import seeded

_TEXT_WIDTH = 32
_WIDTH = 32
_LAYERS = 2
_LATENTS = 4
_RANK = 4


def build_2512(into: Path) -> None:
    """Qwen-Image-2512: text to picture."""
    with seeded(0):
        from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline

        pipe = QwenImagePipeline(tokenizer=qwen_tokenizer(), **_parts())
    pipe.save_pretrained(into)


def build_edit_2511(into: Path) -> None:
    """Qwen-Image-Edit-2511: pictures and an instruction to a picture; its transformer sees the sources as free of noise."""
    with seeded(1):
        from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import QwenImageEditPlusPipeline

        pipe = QwenImageEditPlusPipeline(tokenizer=qwen_tokenizer(), processor=_processor(), **_parts(zero_cond_t=True))
    pipe.save_pretrained(into)


def build_lightning_2512(into: Path) -> None:
    """Qwen-Image-2512-Lightning: the LoRA for four steps."""
    _build_lightning(into / "Qwen-Image-2512-Lightning-4steps-V1.0-bf16.safetensors", seed=2)


def build_lightning_edit(into: Path) -> None:
    """Qwen-Image-Edit-2511-Lightning: the LoRA for four steps."""
    _build_lightning(into / "Qwen-Image-Edit-2511-Lightning-4steps-V1.0-bf16.safetensors", seed=3)


def _build_lightning(file: Path, seed: int) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(_LAYERS):
        for part in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"):
            name = f"transformer_blocks.{block}.attn.{part}"
            shapes |= {f"{name}.lora_down.weight": (_RANK, _WIDTH), f"{name}.lora_up.weight": (_WIDTH, _RANK), f"{name}.alpha": ()}
    save(shapes, file, seed)


def _parts(zero_cond_t: bool = False) -> dict[str, Any]:
    from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
    from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
    )
    transformer = QwenImageTransformer2DModel(
        in_channels=4 * _LATENTS,
        out_channels=_LATENTS,
        num_layers=_LAYERS,
        num_attention_heads=2,
        attention_head_dim=_WIDTH // 2,
        joint_attention_dim=_TEXT_WIDTH,
        axes_dims_rope=(4, 6, 6),
        zero_cond_t=zero_cond_t,
    )
    vae = AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=_LATENTS,
        dim_mult=[1, 2, 2, 2],
        num_res_blocks=1,
        latents_mean=[0.0] * _LATENTS,
        latents_std=[1.0] * _LATENTS,
    )
    return {"scheduler": scheduler, "transformer": transformer, "vae": vae, "text_encoder": _vision_language_model()}


def _vision_language_model() -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = qwen_tokenizer()
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("vision_start", "vision_end", "image_pad", "video_pad")}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": _TEXT_WIDTH,
        "intermediate_size": 2 * _TEXT_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": _TEXT_WIDTH,
        "fullatt_block_indexes": [1],
    }
    special: dict[str, Any] = {
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "image_token_id": ids["image_pad"],
        "video_token_id": ids["video_pad"],
        "vision_start_token_id": ids["vision_start"],
        "vision_end_token_id": ids["vision_end"],
    }
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **special)
    return Qwen2_5_VLForConditionalGeneration(config)


def _processor() -> Any:
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    tokenizer = qwen_tokenizer()
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=tokenizer.chat_template,
    )
