"""The picture models that are measured: their real-size parts with random weights, written in the published layout."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deployments import deployments, endpoints
from models.tiny import build as build_toy

VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
LATENT_VAE = VAE | {"sample_size": 1024}
FLUX_LATENTS = {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.1159}
FLUX_VAE = LATENT_VAE | FLUX_LATENTS
SDXL_SHAPES = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "layers_per_block": 2,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SDXL_UNET = SDXL_SHAPES | {"sample_size": 128}


@dataclass(frozen=True)
class Model:
    """An endpoint to measure, the roles its default job needs, and what makes its real-size parts."""

    path: str
    roles: tuple[str, ...]
    parts: Callable[[], dict[str, Any]]
    body: dict[str, Any]


def flux_parts() -> dict[str, Any]:
    import diffusers

    return {
        "transformer": diffusers.FluxTransformer2DModel(guidance_embeds=True),
        "vae": diffusers.AutoencoderKL.from_config(FLUX_VAE | {"scaling_factor": 0.3611}),
        "text_encoder": clip(768, 12),
        "text_encoder_2": t5(),
    }


def z_image_parts() -> dict[str, Any]:
    import diffusers
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8)
    transformer = diffusers.ZImageTransformer2DModel()
    for token in (transformer.x_pad_token, transformer.cap_pad_token):  # the class leaves them as whatever lay in memory
        torch.nn.init.normal_(token, std=0.02)
    return {
        "transformer": transformer,
        "vae": diffusers.AutoencoderKL.from_config(FLUX_VAE | {"scaling_factor": 0.3611}),
        "text_encoder": Qwen3Model(config),
    }


def qwen_parts() -> dict[str, Any]:
    import diffusers
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    }
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    return {
        "transformer": diffusers.QwenImageTransformer2DModel(),
        "vae": diffusers.AutoencoderKLQwenImage(),
        "text_encoder": Qwen2_5_VLForConditionalGeneration(config),
    }


def sdxl_parts() -> dict[str, Any]:
    import diffusers

    up = {"up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "in_channels": 4, "out_channels": 4}
    return {
        "unet": diffusers.UNet2DConditionModel.from_config(SDXL_UNET | up),
        "vae": diffusers.AutoencoderKL.from_config(LATENT_VAE | {"scaling_factor": 0.13025}),
        "text_encoder": clip(768, 12),
        "text_encoder_2": clip(1280, 32, projected=True),
    }


def clip(width: int, layers: int, projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 64, intermediate_size=4 * width, projection_dim=width
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=24, feed_forward_proj="gated-gelu", use_cache=False)
    )


MODELS = {
    "flux-dev": Model("/flux-dev", ("base",), flux_parts, {}),
    "sdxl-instantid": Model("/sdxl-instantid", ("base", "instantid"), sdxl_parts, {"reference_image": "astronaut"}),
    "qwen-image": Model("/qwen-image-2512", ("base",), qwen_parts, {}),
    "z-image": Model("/z-image-danrisi", ("base",), z_image_parts, {}),
}


def build(model: Model, folder: Path, device: str) -> dict[str, Path]:
    """A folder a role in the published layout, below `folder`."""
    files = {role: folder / role for role in model.roles}
    write(model, files, device)
    return files


def write(model: Model, files: Mapping[str, Path], device: str) -> None:
    """Fill a folder a role: toys, whose parts are replaced by random ones of the real size."""
    declared = deployments()[endpoints()[model.path].deployments[0]]
    for role, path in files.items():
        path.mkdir(parents=True)
        build_toy(declared.weights[role].repo, path)
    if device == "cpu":
        return
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        for name, part in model.parts().items():
            shutil.rmtree(files["base"] / name)  # a sharded network would leave the toy's single file beside it
            part.save_pretrained(files["base"] / name, max_shard_size="10GB")
            del part
        if "instantid" in files:
            build_instantid(files["instantid"])
        torch.set_default_dtype(torch.float32)
    torch.cuda.empty_cache()


def build_instantid(folder: Path) -> None:
    import diffusers
    from safetensors.torch import load_file, save_file

    diffusers.ControlNetModel.from_config(SDXL_UNET).save_pretrained(folder / "ControlNetModel")
    toy = load_file(folder / "ip-adapter.safetensors")
    real = {"image_proj.latents": (1, 16, 1280), "image_proj.proj_in.weight": (1280, 512), "image_proj.proj_in.bias": (1280,)}
    real |= {"image_proj.proj_out.weight": (2048, 1280)}
    real |= {f"image_proj.{name}": (2048,) for name in ("proj_out.bias", "norm_out.weight", "norm_out.bias")}
    inner = {"to_q": (1280, 1280), "to_kv": (2560, 1280), "to_out": (1280, 1280)}
    for name in (name for name in toy if name.startswith("image_proj.layers")):
        part = name.split(".")[-2]
        feed = {"1": (5120, 1280), "3": (1280, 5120)}
        real[name] = inner.get(part) or (feed.get(part) if ".1." in name and part in feed and toy[name].dim() == 2 else None) or (1280,)
    widths = [640] * 4 + [1280] * 20 + [1280] * 30 + [640] * 6 + [1280] * 10  # by the order of the UNet's attention processors
    for index, width in enumerate(widths):
        real |= {f"ip_adapter.{2 * index + 1}.to_{part}_ip.weight": (width, 2048) for part in "kv"}
    save_file({name: torch.randn(shape) * 0.02 for name, shape in real.items()}, folder / "ip-adapter.safetensors")
