"""The picture models at their real sizes with random weights: seconds to load, seconds a picture at the defaults, memory of the card.

    python -m benchmarks.gpu.images                      # one CUDA card, 70 GB of /dev/shm, torch, diffusers, transformers
    python -m benchmarks.gpu.images --side-by-side       # and two models in two processes at their declared shares of the card
    python -m benchmarks.gpu.images --smoke              # toy checkpoints on the CPU, to see that it runs

Speed and memory do not depend on the weights' values; the pictures are noise. Text encoders have their real sizes too; tokenizers are toys.
Each model is written in its published layout and loaded by its own runner, so "load" is from memory. JSON, one object a line.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.picture_models import MODELS, build
from deployments import deployments, endpoints
from deployments.spec.deployment import Deployment
from models.acceleration import limit_memory
from models.media import as_data_url
from models.runner import Call
from models.task import Task
from models.torchvision_ops import declare
from models.weights import Loading
from serve.samples import sample


def roomiest() -> str:
    return max(("/dev/shm", tempfile.gettempdir()), key=lambda folder: shutil.disk_usage(folder).free)


@contextmanager
def built(name: str, device: str) -> Generator[tuple[dict[str, Path], Deployment, Task]]:
    """The model's checkpoints by role, its deployment, and its endpoint's default job; a small job on the CPU."""
    declare()
    model = MODELS[name]
    endpoint = endpoints()[model.path]
    body = {"prompt": "a portrait of a woman in a park"} | {k: as_data_url(sample(name), "image/png") for k, name in model.body.items()}
    task = endpoint.plan(endpoint.request(**body), 1).stages[0].task
    if device == "cpu":
        task = replace(task, width=64, height=64, steps=2)
    with tempfile.TemporaryDirectory(dir=roomiest() if device == "cuda" else None) as folder:
        yield build(model, Path(folder), device), deployments()[endpoint.deployments[0]], task


def measure(name: str, device: str, repeats: int, seconds: float = 0.0, share: float = 1.0, *, compiled: bool = False) -> None:
    with built(name, device) as (files, declared, task):
        limit_memory(share, device)
        began = time.perf_counter()
        runner = declared.load(Loading(files, device, compiled=compiled))
        loaded = time.perf_counter() - began
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) <= repeats or time.perf_counter() < until:
        began = time.perf_counter()
        (frames,) = runner.run(task, Call())
        assert frames.pixels.shape == (1, task.height, task.width, 3), frames.pixels.shape
        times.append(time.perf_counter() - began)
        print(f"{name}: loaded in {loaded:.1f} s, a picture in {times[-1]:.2f} s", file=sys.stderr, flush=True)
    report = {"model": name, "size": f"{task.width}x{task.height}", "steps": task.steps, "load_s": round(loaded, 1)}
    report |= {"first_s": round(times[0], 2), "warm_s": round(float(np.median(times[1:])), 2), "pictures": len(times)}
    if device == "cuda":
        report["peak_gib"] = round(torch.cuda.max_memory_reserved() / 2**30, 1)
        report["declared_gb"] = declared.gpu.vram_gb
    print(json.dumps(report | {"share": share, "compiled": compiled}), flush=True)


def side_by_side(names: tuple[str, str], seconds: float) -> None:
    """Two models at once, each held to what it declares of an 80 GB card."""
    total = torch.cuda.get_device_properties(0).total_memory
    runs = []
    for name in names:
        share = deployments()[endpoints()[MODELS[name].path].deployments[0]].gpu.share["A100-80GB"] * 80e9 / total
        runs.append(
            subprocess.Popen([sys.executable, "-m", __spec__.name, "--model", name, "--seconds", str(seconds), "--share", str(share)])
        )
    codes = [run.wait() for run in runs]
    print(json.dumps({"side_by_side": names, "exit": codes}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=sorted(MODELS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.0, help="go on for at least this long")
    parser.add_argument("--share", type=float, default=1.0, help="fraction of the card's memory this process may take")
    parser.add_argument("--compiled", action="store_true", help="compile the networks; the first picture takes longer")
    parser.add_argument("--side-by-side", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    if options.side_by_side:
        return side_by_side(("z-image", "sdxl-instantid"), 20.0)
    for name in options.model or list(MODELS):
        measure(name, "cpu" if options.smoke else "cuda", options.repeats, options.seconds, options.share, compiled=options.compiled)
    return None


if __name__ == "__main__":
    main()
