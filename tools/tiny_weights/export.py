"""Writes what the trainings made as checkpoints in the published layout, in half precision: image to video and text to video."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.torchvision_ops import declare
from tools.tiny_weights import networks, words
from tools.tiny_weights.course import restore
from tools.tiny_weights.train_renderer import LAST_NOISE, blind, deafen


def everything(weights: Path, into: Path) -> None:
    """The checkpoints whose trainings the folder `weights` holds, and the hashes of all files in `into`.

    Ends the program where it holds none.
    """
    writers = {"joint.0.pt": (image_to_video, "wan_ti2v"), "canvas.pt": (text_to_video, "wan_t2v")}
    found = [writer for name, writer in writers.items() if (weights / name).exists()]
    if not found:
        raise SystemExit(f"{weights} holds no finished training, neither {' nor '.join(writers)}; train first")
    for write, name in found:
        write(weights, into / name)
    files = sorted(path for path in into.rglob("*") if path.suffix in (".safetensors", ".json") and not path.is_symlink())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(into)}" for path in files]
    (into / "SHA256SUMS").write_text("\n".join(lines) + "\n")


def scheduler(**changes: Any) -> Any:
    """The published multistep solver on a flow's noise levels, told that the network answers with the clean clip."""
    declare()
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

    return UniPCMultistepScheduler(prediction_type="sample", use_flow_sigmas=True, solver_order=2, **changes)


def without_spread(vae: nn.Module) -> nn.Module:
    """The autoencoder with its unused log-variance at a constant: a sample from its latents is their mean."""
    channels = vae.quant_conv.out_channels // 2  # pyright: ignore
    with torch.no_grad():
        vae.quant_conv.weight[channels:] = 0.0  # pyright: ignore
        vae.quant_conv.bias[channels:] = -20.0  # pyright: ignore
    return vae


def image_to_video(weights: Path, into: Path) -> None:
    """The checkpoint `WanImageToVideoPipeline.from_pretrained` loads: planner and renderer as its two experts."""
    declare()
    from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline

    renderer = restore(networks.renderer(), weights, "joint", "renderer")
    deafen(renderer)
    blind(renderer)
    pipe = WanImageToVideoPipeline(
        tokenizer=words.tokenizer(),
        text_encoder=words.encoder(),
        vae=without_spread(restore(networks.autoencoder(), weights, "joint", "vae")),
        scheduler=scheduler(flow_shift=5.0, shift_terminal=LAST_NOISE),
        transformer=restore(networks.planner(), weights, "planner", "planner"),
        transformer_2=renderer,
        boundary_ratio=networks.PLAN_UNTIL / 1000,
        expand_timesteps=True,
    )
    pipe.to(dtype=torch.float16).save_pretrained(into)
    tidy(into)


def text_to_video(weights: Path, into: Path) -> None:
    """What is text to video's own in the checkpoint that `WanPipeline.from_pretrained` loads, from `canvas.pt` in `weights`.

    Prompts' encoder and autoencoder are those of image to video; `models.tiny.wan` puts them together.
    """
    declare()
    from diffusers.pipelines.wan.pipeline_wan import WanPipeline

    held = torch.load(weights / "canvas.pt", map_location="cpu", weights_only=True)
    own: dict[str, Any] = {"scheduler": scheduler(flow_shift=5.0, shift_terminal=LAST_NOISE)}
    for name, network, prefix in (
        ("transformer", networks.canvas_planner(), f"{held_best(weights)}/planner/"),
        ("transformer_2", networks.canvas_painter(), "painter/painter/"),
    ):
        network.load_state_dict({key.removeprefix(prefix): value.float() for key, value in held.items() if key.startswith(prefix)})
        own[name] = network.half()
    shared = {"tokenizer": words.tokenizer(), "text_encoder": words.encoder(), "vae": networks.autoencoder()}
    WanPipeline(**shared, **own, boundary_ratio=networks.PLAN_UNTIL / 1000).save_config(into)
    for name, part in own.items():
        part.save_pretrained(into / name)
    tidy(into)


def held_best(weights: Path) -> str:
    """Which of the two planners the judge of `train_canvas` saw do better, at its last look."""
    lines = [json.loads(line) for line in (weights / "canvas.jsonl").read_text().splitlines()]
    last = {line["planner"]: line["all"] for line in lines if line["course"] == "judge"}
    return max(last, key=lambda name: last[name])


def tidy(folder: Path) -> None:
    """Take names of folders on this machine out of the configurations."""
    for path in folder.rglob("*.json"):
        held = json.loads(path.read_text())
        if isinstance(held, dict) and held.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(held, indent=2) + "\n")
