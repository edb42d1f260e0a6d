"""What LoRAs cost a picture model: seconds a picture without slots, with open slots and nothing worn, and with a LoRA worn; and changes.

    python -m benchmarks.gpu.lora_cost --model flux-dev     # one CUDA card
    python -m benchmarks.gpu.lora_cost --smoke              # toys on the CPU

The endpoint's default job, random weights; the LoRAs have rank 16 on the attention's layers, as most have. The states take turns, so that
all see the same card, and the change between them is not counted; it is measured by itself: from a file ("cold", read for the first time)
and from the card's memory ("warm"). JSON, one object a model: medians, and each state's ratio to the plain model.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.images import built
from benchmarks.gpu.picture_models import MODELS
from benchmarks.lora import attention
from deployments import deployments, endpoints
from models.acceleration import settle
from models.lora.files import LoraFiles
from models.lora.stack import LoraStack
from models.runner import Call, Runner
from models.task import LoraUse, Task
from models.weights import Loading

COUNT = 4  # LoRAs that are changed


def picture_s(runner: Runner, task: Task) -> float:
    began = time.perf_counter()
    (_,) = runner.run(task, Call())
    return time.perf_counter() - began


def by_turns(states: Mapping[str, tuple[Runner, Task]], rounds: int) -> dict[str, list[float]]:
    """Seconds a picture of each state, by turns; a picture before it pays for the change from the state before, and warms up."""
    times: dict[str, list[float]] = {name: [] for name in states}
    for _ in range(rounds):
        for name, (runner, task) in states.items():
            picture_s(runner, task)
            times[name].append(picture_s(runner, task))
    return times


def changes(stack: LoraStack, pipe: Any, uses: Sequence[LoraUse], device: str) -> dict[str, float]:
    """Median milliseconds of a change to each LoRA for the first time, and of those to and fro between the last two."""

    def wear(use: LoraUse) -> float:
        began = time.perf_counter()
        stack.wear(pipe, (use,))
        settle(torch.device(device))
        return 1000 * (time.perf_counter() - began)

    cold = [wear(use) for use in uses]
    warm = [wear(use) for _ in range(5) for use in uses[-2:]]
    return {"cold_ms": round(statistics.median(cold), 1), "warm_ms": round(statistics.median(warm[1:]), 2)}


def measure(name: str, device: str, rounds: int, folder: Path) -> None:
    from safetensors.torch import save_file

    uses = [LoraUse(f"lora-{number}") for number in range(COUNT)]
    house = {use.name: folder / use.name for use in uses}
    with built(name, device) as (files, declared, task):
        plain = declared.load(Loading(files, device))
        registered = LoraFiles(str(folder / "registered"), folder / "cache", 0)
        room = {"slots": declared.lora_slots, "rank": declared.lora_rank}
        stack = LoraStack(registered, house, **room, device=device)
        slotted: Any = declared.load(Loading(files, device), stack)
    for seed, place in enumerate(house.values()):
        place.mkdir()
        tensors = {name: tensor.bfloat16() for name, tensor in attention(stack.base, seed).items()}
        save_file(tensors, place / "lora.safetensors")
    megabytes = (place / "lora.safetensors").stat().st_size / 1e6
    changed = changes(stack, slotted.pipe, uses, device)
    worn = replace(task, loras=(uses[-1],))
    times = by_turns({"plain": (plain, task), "slots open": (slotted, task), "one worn": (slotted, worn)}, rounds)
    report: dict[str, Any] = {"model": name, "layers": len(stack.base.layers), "rounds": rounds, "lora_mb": round(megabytes, 1)} | changed
    for state, took in times.items():
        median = statistics.median(took)
        report[state] = {"s": round(median, 3), "ratio": round(median / statistics.median(times["plain"]), 3)}
    print(json.dumps(report), flush=True)


def main() -> None:
    takers = [name for name, model in MODELS.items() if deployments()[endpoints()[model.path].deployments[0]].lora_slots]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=sorted(takers))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    for name in options.model or takers:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, "cpu" if options.smoke else "cuda", options.rounds, Path(folder))


if __name__ == "__main__":
    main()
