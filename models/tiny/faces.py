"""Toy checkpoints of the identity modules in the layout of the published repositories, to fit the toy Flux and SDXL models."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.tiny.sdxl import TEXT_WIDTH, unet, unet_shapes
from models.tiny.seeding import seeded

Shapes = dict[str, tuple[int, ...]]

_FLUX_WIDTH = 32
_CLIP_WIDTH = 48  # of the projected picture
_EVA_WIDTH = 32
_CLASS_VECTOR = 768
_ARCFACE = 512


def build_xlabs(into: Path) -> None:
    """XLabs-AI/flux-ip-adapter-v2 for the three double blocks of the toy Flux; 4 tokens instead of 16."""
    shapes = xlabs_shapes(tokens=4, width=_FLUX_WIDTH, clip=_CLIP_WIDTH, image=_FLUX_WIDTH, blocks=3)
    _save(shapes, into / "ip_adapter.safetensors")


def xlabs_shapes(*, tokens: int, width: int, clip: int, image: int, blocks: int) -> Shapes:
    """Tensors of the published file: tokens and their width, the widths of CLIP's picture and of Flux, Flux's double blocks."""
    projection: Shapes = {"proj.weight": (tokens * width, clip), "proj.bias": (tokens * width,), **_norm("norm", width)}
    shapes = {f"ip_adapter_proj_model.{name}": shape for name, shape in projection.items()}
    for block in range(blocks):
        for part in "kv":
            name = f"double_blocks.{block}.processor.ip_adapter_double_stream_{part}_proj"
            shapes |= {f"{name}.weight": (image, width), f"{name}.bias": (image,)}
    return shapes


def build_clip(into: Path) -> None:
    """openai/clip-vit-large-patch14: both towers in one model, of which the vision tower is read."""
    with seeded(5):
        from transformers import CLIPConfig, CLIPModel

        tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        vision = tower | {"image_size": 56, "patch_size": 14, "projection_dim": _CLIP_WIDTH}
        config = CLIPConfig(
            text_config=tower | {"vocab_size": 64, "bos_token_id": 0, "eos_token_id": 1}, vision_config=vision, projection_dim=_CLIP_WIDTH
        )
        CLIPModel(config).save_pretrained(into)


def build_pulid(into: Path) -> None:
    """guozinan/PuLID: the identity encoder and cross-attentions, four for the toy Flux."""
    shapes = pulid_shapes(width=32, context=48, image=_FLUX_WIDTH, seen=_EVA_WIDTH, inner=32, places=4)
    _save(shapes, into / "pulid_flux_v0.9.1.safetensors")


def pulid_shapes(*, width: int, context: int, image: int, seen: int, inner: int, places: int) -> Shapes:
    """Tensors of the published file, by the widths of the encoder, its tokens, Flux, the vision tower and the attention inside Flux."""
    encoder: Shapes = {"latents": (1, 32, width), "proj_out": (width, context)}
    encoder |= _mapping("id_embedding_mapping", _ARCFACE + _CLASS_VECTOR, 5 * width, width)
    for level in range(5):
        encoder |= _mapping(f"mapping_{level}", seen, width, width)
    for layer in range(10):
        encoder |= _attention(f"layers.{layer}.0", width, width, width)
        encoder |= _feed_forward(f"layers.{layer}.1", width)
    shapes = {f"pulid_encoder.{name}": shape for name, shape in encoder.items()}
    for n in range(places):
        shapes |= _attention(f"pulid_ca.{n}", image, context, inner)
    return shapes


def build_eva(into: Path) -> None:
    """The repack by timm of EVA02-CLIP-L/14-336's vision tower: all blocks that PuLID reads, narrow ones."""
    from safetensors.torch import save_file

    arguments: dict[str, Any] = {"img_size": 28, "embed_dim": _EVA_WIDTH, "depth": 20, "num_heads": 2}
    into.mkdir(parents=True, exist_ok=True)
    with seeded(6):
        import timm

        tower = timm.create_model("eva02_large_patch14_clip_336", num_classes=_CLASS_VECTOR, **arguments)
    save_file(tower.state_dict(), into / "model.safetensors")
    (into / "config.json").write_text(json.dumps({"architecture": "eva02_large_patch14_clip_336", "model_args": arguments}))


def build_instantid(into: Path) -> None:
    """InstantX/InstantID with its pickle converted: the adapter, and a ControlNet whose outputs are not zero as before training."""
    with seeded(7):
        import torch
        from diffusers.models.controlnets.controlnet import ControlNetModel

        controlnet: Any = ControlNetModel.from_config(unet_shapes() | {"conditioning_embedding_out_channels": (8, 8, 16, 16)})
        for parameter in (*controlnet.controlnet_down_blocks.parameters(), *controlnet.controlnet_mid_block.parameters()):
            torch.nn.init.normal_(parameter, std=0.2)
        torch.nn.init.normal_(controlnet.controlnet_cond_embedding.conv_out.weight, std=0.2)
        controlnet.save_pretrained(into / "ControlNetModel")
    _save(instantid_shapes(64, TEXT_WIDTH, cross_attention_widths(unet())), into / "ip-adapter.safetensors")


def instantid_shapes(width: int, context: int, cross_attentions: Sequence[int]) -> Shapes:
    """Tensors of the adapter: the resampler's width, the prompt's, and that of each cross-attention of the UNet."""
    resampler: Shapes = {"latents": (1, 16, width), "proj_in.weight": (width, _ARCFACE), "proj_in.bias": (width,)}
    for layer in range(4):
        resampler |= _attention(f"layers.{layer}.0", width, width, width)
        resampler |= _feed_forward(f"layers.{layer}.1", width)
    resampler |= {"proj_out.weight": (context, width), "proj_out.bias": (context,), **_norm("norm_out", context)}
    shapes = {f"image_proj.{name}": shape for name, shape in resampler.items()}
    for index, hidden in enumerate(cross_attentions):
        for part in "kv":
            shapes[f"ip_adapter.{2 * index + 1}.to_{part}_ip.weight"] = (hidden, context)
    return shapes


def cross_attention_widths(network: Any) -> list[int]:
    """Widths of a UNet's cross-attentions in the order in which adapters count them."""
    names = [name.removesuffix(".processor") for name in network.attn_processors if "attn2" in name]
    return [network.get_submodule(name).to_k.weight.shape[0] for name in names]


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _attention(name: str, width: int, context: int, inner: int) -> Shapes:
    matrices: Shapes = {"to_q": (inner, width), "to_kv": (2 * inner, context), "to_out": (width, inner)}
    linear = {f"{name}.{part}.weight": shape for part, shape in matrices.items()}
    return _norm(f"{name}.norm1", context) | _norm(f"{name}.norm2", width) | linear


def _feed_forward(name: str, width: int) -> Shapes:
    return _norm(f"{name}.0", width) | {f"{name}.1.weight": (4 * width, width), f"{name}.3.weight": (width, 4 * width)}


def _mapping(name: str, first: int, last: int, hidden: int) -> Shapes:
    shapes: Shapes = _norm(f"{name}.1", hidden) | _norm(f"{name}.4", hidden)
    for index, (rows, columns) in {0: (hidden, first), 3: (hidden, hidden), 6: (last, hidden)}.items():
        shapes |= {f"{name}.{index}.weight": (rows, columns), f"{name}.{index}.bias": (rows,)}
    return shapes


def _save(shapes: Shapes, file: Path) -> None:
    """Seeded tensors: matrices that keep the size of what they multiply, vectors near one."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    with seeded(4):
        import torch

        tensors = {
            name: torch.randn(shape) / shape[-1] ** 0.5 if len(shape) > 1 else torch.ones(shape) + 0.1 * torch.randn(shape)
            for name, shape in shapes.items()
        }
    save_file(tensors, file)
