"""Wan at its real sizes with random weights: seconds to load, seconds a clip by stage, memory of the card.

    python -m benchmarks.gpu.wan --model t2v --model ti2v      # one CUDA card, 20 GB of disk, torch, diffusers, transformers, ftfy
    python -m benchmarks.gpu.wan --smoke                       # toy checkpoints on the CPU, to see that it runs

Speed and memory do not depend on the weights' values. The text encoder is a toy of the real width: UMT5-XXL would add 11.4 GB and,
on this class of card, about 0.05 s a clip (an estimate). Prints one JSON object a measurement.

Seen on one H200, torch 2.11, 832x480, 33 frames, 30 steps with guidance, seconds of a warm run (denoise + decode) and peak memory:

    t2v  1.3B   12.1 (11.0 + 1.07)   compiled  9.4 (8.3 + 1.07)   10.8 GiB
    ti2v 5B      7.4 ( 6.3 + 1.08)   compiled  5.3 (4.3 + 1.08)   20.3 GiB
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.runner import Call
from models.task import ImageToVideo, ReferenceToVideo, TextToVideo
from models.tiny import build as build_toy
from models.tiny.text import umt5, umt5_tokenizer
from models.torchvision_ops import declare
from models.wan import WanImageToVideo, WanReferenceToVideo, WanTextToVideo
from models.weights import Loading

WIDTHS = {"1.3B": {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}}
WIDTHS |= {"5B": {"num_attention_heads": 24, "ffn_dim": 14336, "num_layers": 30}}
WIDTHS |= {"14B": {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40}}
VACE = {"vace_layers": list(range(0, 30, 2)), "vace_in_channels": 96}
VAE_22 = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "latents_mean": [0.0] * 48,
    "latents_std": [1.0] * 48,
}
TI2V, A14B = {"expand_timesteps": True}, {"boundary_ratio": 0.9}
PICTURE = np.random.default_rng(0).integers(0, 256, (480, 832, 3), dtype=np.uint8)
PROMPT = {"seed": 1, "prompt": "a lighthouse in a storm", "fps": 16, "guidance": 5.0}


@dataclass(frozen=True)
class Model:
    """A published model: who runs what, its transformer's channels and width, its VAE and its pipeline's settings."""

    runner: type
    task: type
    adds: dict[str, Any]
    repo: str
    channels: tuple[int, int]
    width: str
    vae: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


MODELS = {
    "t2v": Model(WanTextToVideo, TextToVideo, {}, "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", (16, 16), "1.3B"),
    "ti2v": Model(
        WanImageToVideo,
        ImageToVideo,
        {"image": PICTURE},
        "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        (48, 48),
        "5B",
        VAE_22,
        {"expand_timesteps": True},
    ),
    "a14b": Model(WanImageToVideo, ImageToVideo, {"image": PICTURE}, "Wan-AI/Wan2.2-I2V-A14B-Diffusers", (36, 16), "14B", {}, A14B),
    "vace": Model(WanReferenceToVideo, ReferenceToVideo, {"references": (PICTURE,)}, "Wan-AI/Wan2.1-VACE-1.3B-diffusers", (16, 16), "1.3B"),
}


def umt5_xxl():
    """The published text encoder, in bfloat16."""
    from transformers import UMT5Config, UMT5EncoderModel

    shape = {"vocab_size": 256384, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
    torch.set_default_dtype(torch.bfloat16)
    try:
        return UMT5EncoderModel(UMT5Config(**shape, feed_forward_proj="gated-gelu", use_cache=False))
    finally:
        torch.set_default_dtype(torch.float32)


def build(folder, name, *, whole=False):
    """Random weights straight on the card, saved in the published layout. whole: with the text encoder at its real size."""
    declare()
    import diffusers

    model = MODELS[name]
    kind = diffusers.WanVACETransformer3DModel if name == "vace" else diffusers.WanTransformer3DModel
    shape = {"in_channels": model.channels[0], "out_channels": model.channels[1], **WIDTHS[model.width], **(VACE if name == "vace" else {})}
    with torch.device("cuda"):
        parts = {"transformer": kind(**shape).to(torch.bfloat16)}
        if "boundary_ratio" in model.settings:
            parts["transformer_2"] = kind(**shape).to(torch.bfloat16)
        parts |= {"vae": diffusers.AutoencoderKLWan(**model.vae), "text_encoder": umt5_xxl() if whole else umt5(width=4096, layers=1)}
    scheduler = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)
    pipe = getattr(diffusers, model.runner.pipeline)(**parts, **model.settings, scheduler=scheduler, tokenizer=umt5_tokenizer())
    pipe.save_pretrained(folder, max_shard_size="5GB")


def memory(device):
    if device == "cpu":
        return {}
    peak = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.reset_peak_memory_stats()
    return {"peak_gib": round(peak, 2)}


def measure(runner, task, repeats):
    """First run and the median of warm runs; seconds by stage from that one."""
    runs = []
    for _ in range(repeats + 1):
        call, began = Call(), time.perf_counter()
        frames = sum(len(part.pixels) for part in runner.run(task, call))
        runs.append((time.perf_counter() - began, call.seconds))
    warm = sorted(runs[1:], key=lambda run: run[0])
    seconds, stages = warm[len(warm) // 2]
    return {
        "size": f"{task.width}x{task.height}",
        "frames": frames,
        "steps": task.steps,
        "seconds": round(seconds, 3),
        "first_run": round(runs[0][0], 3),
        "stages": {stage: round(value, 3) for stage, value in stages.items()},
    }


def report(**values):
    print(json.dumps(values), flush=True)


def bench(name, device, jobs, arguments):
    model = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        build_toy(model.repo, Path(folder)) if device == "cpu" else build(folder, name)
        if device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        runner = model.runner(Loading({"base": Path(folder)}, device, compiled=arguments.compiled))
        report(model=name, job="load", seconds=round(time.perf_counter() - began, 3), **memory(device))
        for backend in arguments.attention or [None]:
            if backend is not None:
                runner.pipe.transformer.set_attention_backend(backend)
            for width, height, frames, steps in jobs:
                clip = model.task(**PROMPT, **model.adds, width=width, height=height, num_frames=frames, steps=steps)
                done = measure(runner, clip, arguments.repeats)
                report(model=name, attention=backend or "chosen", compiled=arguments.compiled, **done, **memory(device))
        runner.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=sorted(MODELS), help="may be given several times; default: t2v and ti2v")
    parser.add_argument("--attention", action="append", help="attention backend to compare; may be given several times")
    parser.add_argument("--compiled", action="store_true", help="compile the transformer's blocks")
    parser.add_argument("--repeats", type=int, default=1, help="warm runs a measurement")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--smoke", action="store_true", help="toy checkpoints, on the CPU")
    arguments = parser.parse_args()
    device = "cpu" if arguments.smoke else "cuda"
    jobs = [(64, 64, 5, 2)] if arguments.smoke else [(832, 480, 33, arguments.steps)]
    report(device=torch.cuda.get_device_name() if device == "cuda" else "cpu", torch=torch.__version__)
    for name in arguments.model or ["t2v", "ti2v"]:
        bench(name, device, jobs, arguments)


if __name__ == "__main__":
    main()
