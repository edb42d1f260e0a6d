"""Renames a diffusers SDXL pipeline's tensors to those of the original research code, as single-file checkpoints have them."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

State: TypeAlias = dict[str, Any]
Rules: TypeAlias = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]

_LAYERS = 2  # resnets a down block of the UNet; an up block has one more


def ldm_names(pipe: Any) -> State:
    """All weights of a StableDiffusionXLPipeline in one flat dict under the original names."""
    clip = {_in_text_model(name): tensor for name, tensor in pipe.text_encoder.state_dict().items()}
    parts: tuple[tuple[str, State], ...] = (
        ("model.diffusion_model.", _renamed(pipe.unet.state_dict(), _UNET)),
        ("first_stage_model.", _vae(pipe.vae.state_dict(), len(pipe.vae.config.block_out_channels))),
        ("conditioner.embedders.0.transformer.", clip),
        ("conditioner.embedders.1.model.", _open_clip(pipe.text_encoder_2.state_dict())),
    )
    return {prefix + name: tensor.contiguous() for prefix, part in parts for name, tensor in part.items()}


def _renamed(state: Mapping[str, Any], rules: Rules) -> State:
    def rename(name: str) -> str:
        for pattern, into in rules:
            name = re.sub(pattern, into, name)
        return name

    return {rename(name): tensor for name, tensor in state.items()}


_RESNET: Rules = (
    (r"\bnorm1\b(?=\.(weight|bias)$)", "in_layers.0"),
    (r"\bconv1\b", "in_layers.2"),
    (r"\btime_emb_proj\b", "emb_layers.1"),
    (r"\bnorm2\b", "out_layers.0"),
    (r"\bconv2\b", "out_layers.3"),
    (r"\bconv_shortcut\b", "skip_connection"),
)


def _resnet(name: str) -> str:
    for pattern, into in _RESNET:
        name = re.sub(pattern, str(into), name)
    return name


_UNET: Rules = (
    (r"^time_embedding\.linear_(\d)", lambda m: f"time_embed.{2 * int(m[1]) - 2}"),
    (r"^add_embedding\.linear_(\d)", lambda m: f"label_emb.0.{2 * int(m[1]) - 2}"),
    (r"^conv_in\.", "input_blocks.0.0."),
    (r"^conv_norm_out\.", "out.0."),
    (r"^conv_out\.", "out.2."),
    (r"^down_blocks\.(\d)\.resnets\.(\d)\.(.*)", lambda m: f"input_blocks.{_below(m) + int(m[2])}.0.{_resnet(m[3])}"),
    (r"^down_blocks\.(\d)\.attentions\.(\d)\.", lambda m: f"input_blocks.{_below(m) + int(m[2])}.1."),
    (r"^down_blocks\.(\d)\.downsamplers\.0\.conv\.", lambda m: f"input_blocks.{_below(m) + _LAYERS}.0.op."),
    (r"^mid_block\.resnets\.(\d)\.(.*)", lambda m: f"middle_block.{2 * int(m[1])}.{_resnet(m[2])}"),
    (r"^mid_block\.attentions\.0\.", "middle_block.1."),
    (r"^up_blocks\.(\d)\.resnets\.(\d)\.(.*)", lambda m: f"output_blocks.{_above(m) + int(m[2])}.0.{_resnet(m[3])}"),
    (r"^up_blocks\.(\d)\.attentions\.(\d)\.", lambda m: f"output_blocks.{_above(m) + int(m[2])}.1."),
    (r"^up_blocks\.(\d)\.upsamplers\.0\.conv\.", lambda m: f"output_blocks.{_above(m) + _LAYERS}.2.conv."),
)


def _below(match: re.Match[str]) -> int:
    return 1 + int(match[1]) * (_LAYERS + 1)


def _above(match: re.Match[str]) -> int:
    return int(match[1]) * (_LAYERS + 1)


def _vae(state: Mapping[str, Any], levels: int) -> State:
    """The decoder's levels count upwards in the original, and its attention is made of 1x1 convolutions."""
    rules: Rules = (
        (r"down_blocks\.(\d)\.resnets\.", r"down.\1.block."),
        (r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample."),
        (r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block."),
        (r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample."),
        (r"mid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}."),
        (r"mid_block\.attentions\.0\.", "mid.attn_1."),
        (r"group_norm", "norm"),
        (r"to_([qkv])\.", r"\1."),
        (r"to_out\.0", "proj_out"),
        (r"conv_norm_out", "norm_out"),
        (r"conv_shortcut", "nin_shortcut"),
    )
    renamed = _renamed(state, rules)
    return {name: tensor[:, :, None, None] if "attn_1" in name and tensor.ndim == 2 else tensor for name, tensor in renamed.items()}


def _open_clip(state: Mapping[str, Any]) -> State:
    """OpenCLIP keeps query, key and value in one matrix and multiplies by its projection from the right."""
    import torch

    rules: Rules = (
        (r"^text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
        (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
        (r"^text_model\.final_layer_norm\.", "ln_final."),
        (r"^text_projection\.weight", "text_projection"),
        (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
        (r"layer_norm(\d)", r"ln_\1"),
        (r"\.fc1\.", ".c_fc."),
        (r"\.fc2\.", ".c_proj."),
        (r"\.self_attn\.", ".attn."),
    )
    renamed = _renamed(state, rules)
    renamed["text_projection"] = renamed["text_projection"].T
    for name in [name for name in renamed if ".attn.q_proj." in name]:
        stacked = torch.cat([renamed.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"])
        renamed[name.replace("q_proj.", "in_proj_")] = stacked
    return renamed


def _in_text_model(name: str) -> str:
    """Newer transformers drop the prefix that published files have."""
    return name if name.startswith("text_model.") else f"text_model.{name}"
