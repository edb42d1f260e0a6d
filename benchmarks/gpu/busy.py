"""Whether the card or the host sets a picture model's pace: seconds its kernels ran of a short picture's, and batches of one and two.

    python -m benchmarks.gpu.busy --model sdxl-instantid     # one CUDA card
    python -m benchmarks.gpu.busy --smoke                    # toys on the CPU, whose kernels are not counted

Random weights. Five steps under torch's profiler, which counts kernels alone; then the endpoint's default job without it. JSON.
"""

import argparse
import json
import time
from dataclasses import replace

from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.images import built
from benchmarks.gpu.picture_models import MODELS
from models.runner import BatchRunner, Call
from models.task import Task
from models.weights import Loading

STEPS = 5


def batch_s(runner: BatchRunner, task: Task, count: int) -> float:
    """Seconds of a warm batch of `count`."""
    tasks = [replace(task, seed=seed) for seed in range(count)]
    for _ in range(2):
        began = time.perf_counter()
        runner.run_batch(tasks, [Call() for _ in tasks])
        took = time.perf_counter() - began
    return took


def measure(name: str, device: str) -> None:
    with built(name, device) as (files, declared, task):
        runner = declared.load(Loading(files, device))
    assert isinstance(runner, BatchRunner)
    short = replace(task, steps=min(task.steps, STEPS))
    batch_s(runner, short, 1)
    with profile(activities=[ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU]) as seen:
        began = time.perf_counter()
        runner.run_batch([short], [Call()])
        wall = time.perf_counter() - began
    busy = sum(event.self_device_time_total for event in seen.key_averages()) / 1e6
    report = {"model": name, "steps": short.steps, "wall_s": round(wall, 3), "kernels_s": round(busy, 3)}
    print(json.dumps(report | {"one_s": round(batch_s(runner, task, 1), 2), "two_s": round(batch_s(runner, task, 2), 2)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=sorted(MODELS))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    for name in options.model or list(MODELS):
        measure(name, "cpu" if options.smoke else "cuda")


if __name__ == "__main__":
    main()
