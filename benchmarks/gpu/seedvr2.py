"""SeedVR2 at its real sizes with random weights: seconds to load, seconds a picture and a clip, memory of the card.

    python -m benchmarks.gpu.seedvr2 --variant 3b --variant 7b     # one CUDA card, about 25 GB of disk, torch, numpy, safetensors
    python -m benchmarks.gpu.seedvr2 --smoke                       # toy size on the CPU, to see that it runs

Speed and memory do not depend on the weights' values. Prints one JSON object a measurement.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from models.runner import Call, Frames
from models.seedvr2.config import PROMPT_FILES, SEEDVR2_3B, SEEDVR2_7B, VAE_FILES
from models.seedvr2.dit import SeedVR2Transformer
from models.seedvr2.rope import WindowRope
from models.seedvr2.runner import CHUNK_FRAMES, SeedVR2
from models.seedvr2.vae import SeedVR2Autoencoder
from models.task import Upscale
from models.tiny.seedvr2 import build as build_toy
from models.weights import Loading

VARIANTS = {"3b": SEEDVR2_3B, "7b": SEEDVR2_7B}


def random_file(network, path, device, **kept):
    """Write a network of the meta device with random half-precision weights."""
    state = {name: torch.randn(tensor.shape, device=device, dtype=torch.float16) * 0.02 for name, tensor in network.state_dict().items()}
    for name in state:
        for ending, tensor in kept.items():
            if name.endswith(ending):
                state[name] = tensor
    save_file({name: tensor.clone() for name, tensor in state.items()}, path)  # blocks share their rotary tables


def build(folder, variant, device):
    published = VARIANTS[variant]
    with torch.device("meta"):
        dit, vae = SeedVR2Transformer(published.dit), SeedVR2Autoencoder(published.vae)
    random_file(dit, folder / published.files[0], device, freqs=WindowRope(published.dit).rope.freqs)
    random_file(vae, folder / VAE_FILES[0], device)
    save_file({"embedding": torch.randn(58, published.dit.text_dim)}, folder / PROMPT_FILES[0])


def measure(runner, frames, size, resolution, repeats):
    """Median of warm runs over noise of `size`; seconds by stage from the median run."""
    pixels = np.random.default_rng(0).integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    runs = []
    for _ in range(repeats + 1):
        call, began = Call(), time.perf_counter()
        task = Upscale(seed=1, image=pixels[0], resolution=resolution)
        clip = iter([Frames(pixels, np.arange(frames) / 16)])
        done = list(runner.run(task, call) if frames == 1 else runner.transform(task, clip, call))
        runs.append((time.perf_counter() - began, call))
    warm = sorted(runs[1:], key=lambda run: run[0])
    seconds, call = warm[len(warm) // 2]
    return {
        "frames": frames,
        "from": f"{size[1]}x{size[0]}",
        "to": f"{call.facts['width']}x{call.facts['height']}",
        "seconds": round(seconds, 3),
        "median": round(statistics.median(run[0] for run in warm), 3),
        "first_run": round(runs[0][0], 3),
        "stages": {stage: round(value, 3) for stage, value in call.seconds.items()},
        "frames_out": sum(len(part.pixels) for part in done),
    }


def memory(device):
    if device == "cpu":
        return {}
    peak = {"peak_gib": torch.cuda.max_memory_allocated() / 2**30, "reserved_gib": torch.cuda.max_memory_reserved() / 2**30}
    torch.cuda.reset_peak_memory_stats()
    return {name: round(value, 2) for name, value in peak.items()}


def report(**values):
    print(json.dumps(values), flush=True)


def bench(variant, device, jobs, repeats, smoke):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_toy(folder, variant) if smoke else build(folder, variant, device)
        if device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        runner = SeedVR2(Loading({"base": folder}, device))
        if device != "cpu":
            torch.cuda.synchronize()
        report(model=f"seedvr2-{variant}", job="load", seconds=round(time.perf_counter() - began, 3), **memory(device))
    for frames, size, resolution in jobs:
        report(model=f"seedvr2-{variant}", job="upscale", **measure(runner, frames, size, resolution, repeats), **memory(device))
    runner.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", action="append", choices=sorted(VARIANTS), help="may be given twice; default: 3b")
    parser.add_argument("--repeats", type=int, default=3, help="warm runs a measurement")
    parser.add_argument("--smoke", action="store_true", help="toy size, on the CPU")
    arguments = parser.parse_args()
    device = "cpu" if arguments.smoke else "cuda"
    jobs = [(1, (540, 960), 1080), (1, (1024, 1024), 2048), (CHUNK_FRAMES, (480, 832), 720), (CHUNK_FRAMES, (540, 960), 1080)]
    if arguments.smoke:
        jobs = [(1, (48, 64), 96), (6, (32, 32), 64)]
    report(device=torch.cuda.get_device_name() if device == "cuda" else "cpu", torch=torch.__version__)
    for variant in arguments.variant or ["3b"]:
        bench(variant, device, jobs, arguments.repeats, arguments.smoke)


if __name__ == "__main__":
    main()
