"""Toy checkpoints of the Wan family in the layout of the published repositories: real classes, small shapes.

Text to video and image to video have small trained weights, which come with this package (docs/tiny-weights.md); the others are seeded
random ones.
Shapes are chosen so that the endpoints' default, 33 frames at 832x480 in 30 steps, is bearable on two CPU cores.
"""

import shutil
from pathlib import Path
from typing import Any

from models.tiny.seeding import seeded
from models.tiny.text import umt5, umt5_tokenizer

_TEXT_WIDTH = 32
TRAINED = Path(__file__).parent / "weights"


def build_t2v(into: Path) -> None:
    """Wan2.1-T2V-1.3B: the small trained weights. Prompts' encoder and autoencoder are those of image to video."""
    shutil.copytree(TRAINED / "wan_t2v", into, dirs_exist_ok=True)
    for part in ("tokenizer", "text_encoder", "vae"):
        shutil.copytree(TRAINED / "wan_ti2v" / part, into / part)


def build_ti2v(into: Path) -> None:
    """Wan2.2-TI2V-5B: the small trained weights."""
    shutil.copytree(TRAINED / "wan_ti2v", into, dirs_exist_ok=True)


def build_i2v_a14b(into: Path) -> None:
    """Wan2.2-I2V-A14B: two experts, the picture's latents and a mask beside the noise (16 + 16 + 4 channels)."""
    with seeded(0):
        from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline

        # 14 040 tokens at the default size: attention over them is most of the time, so one head.
        noisy, clean = (_transformer(channels=36, out=16, heads=1, layers=2) for _ in range(2))
        parts = _shared(flow_shift=3.0)
        pipe = WanImageToVideoPipeline(**parts, vae=_vae_21(), transformer=noisy, transformer_2=clean, boundary_ratio=0.9)
        pipe.save_pretrained(into)


def build_vace(into: Path) -> None:
    """Wan2.1-VACE-1.3B: references enter through blocks of their own."""
    with seeded(0):
        from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel
        from diffusers.pipelines.wan.pipeline_wan_vace import WanVACEPipeline

        transformer = WanVACETransformer3DModel(**_shape(channels=16, out=16, heads=1, layers=2), vace_layers=[0], vace_in_channels=96)
        WanVACEPipeline(**_shared(flow_shift=3.0), vae=_vae_21(), transformer=transformer).save_pretrained(into)


def _shared(flow_shift: float) -> dict[str, Any]:
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=flow_shift
    )
    return {"scheduler": scheduler, "tokenizer": umt5_tokenizer(), "text_encoder": umt5(_TEXT_WIDTH)}


def _transformer(*, channels: int, out: int, heads: int, layers: int) -> Any:
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

    return WanTransformer3DModel(**_shape(channels=channels, out=out, heads=heads, layers=layers))


def _shape(*, channels: int, out: int, heads: int, layers: int) -> dict[str, Any]:
    return {
        "in_channels": channels,
        "out_channels": out,
        "num_attention_heads": heads,
        "attention_head_dim": 16,
        "num_layers": layers,
        "ffn_dim": 32,
        "freq_dim": 32,
        "text_dim": _TEXT_WIDTH,
    }


def _vae_21() -> Any:
    """8x8 spatial compression, 16 channels with the published statistics."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    return AutoencoderKLWan(base_dim=8, dim_mult=[1, 1, 2, 2], num_res_blocks=1)
