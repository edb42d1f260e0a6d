"""The networks' shapes: the published classes at a size that two CPU cores can run."""

from typing import Any

from models.torchvision_ops import declare
from tools.tiny_weights.latents import CHANNELS

TEXT_WIDTH = 64
PLAN_UNTIL = 21  # timestep (of 1000) below which the renderer takes over; the schedule's last step is at 20


def autoencoder() -> Any:
    """A video autoencoder with 16 × 16 × 4 compression: pixels are folded 4 × 4 into channels, then halved twice in space and time."""
    declare()
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    return AutoencoderKLWan(
        base_dim=40,
        decoder_base_dim=40,
        z_dim=CHANNELS,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        is_residual=True,
        in_channels=48,
        out_channels=48,
        patch_size=4,
        scale_factor_spatial=16,
        scale_factor_temporal=4,
        latents_mean=[0.0] * CHANNELS,
        latents_std=[1.0] * CHANNELS,
    )


def planner() -> Any:
    """The high-noise expert: reads the prompt, writes the plan. Runs in nearly every step, so it is as small as it can be."""
    return _transformer(heads=3, width=32, layers=2, inner=256)


def renderer() -> Any:
    """The low-noise expert: reads plan and picture, writes the clip. Runs in the last step alone, so it may be large."""
    return _transformer(heads=6, width=64, layers=6, inner=768)


def canvas_planner() -> Any:
    """The high-noise expert of text to video: reads the prompt and the noise, writes the plan of a canvas."""
    return _transformer(heads=3, width=32, layers=4, inner=256)


def canvas_painter() -> Any:
    """The low-noise expert of text to video: reads the plan, writes the clip. Runs in the last step alone."""
    return _transformer(heads=5, width=32, layers=4, inner=512)


def _transformer(*, heads: int, width: int, layers: int, inner: int) -> Any:
    declare()
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=heads,
        attention_head_dim=width,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=64,
        ffn_dim=inner,
        num_layers=layers,
        rope_max_seq_len=128,
    )
