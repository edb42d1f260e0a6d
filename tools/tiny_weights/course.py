"""The course of one training: how far it is, its learning rate, the smoothed copy of the weights, and its log."""

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tools.tiny_weights.muon import Muon


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a training runs and how long.

    out: folder for weights and logs. start: folder with weights to go on from, where it has them. stock: the pictures' file.
    seconds, steps: whichever ends first. share: scales the clips a step, 1 for a large GPU. seed: tells runs of one course apart.
    """

    out: Path
    start: Path
    stock: Path
    device: torch.device
    seconds: float
    steps: int
    share: float
    compiled: bool = False
    seed: int = 0

    def pictures(self) -> torch.Tensor:
        """The stock of pictures, uint8 (N, 3, side, side) on the host."""
        return torch.load(self.stock, map_location="cpu", weights_only=True, mmap=True)

    def quicken(self, network: Any, trial: Callable[[], torch.Tensor]) -> None:
        """Compile the network's blocks, if the setting says so and one `trial` run with its gradients succeeds."""
        if not self.compiled:
            return
        for block in network.blocks:
            block.compile(dynamic=True)
        try:
            trial().float().sum().backward()
        except Exception as error:  # a machine may lack a compiler; anything it raises means the same: run as it is
            print(f"not compiled: {type(error).__name__}: {str(error)[:300]}", flush=True)
            for block in network.blocks:
                block._compiled_call_impl = None
        network.zero_grad()


class Course:
    """Runs an optimiser for a span of wall-clock time, or a number of steps, whichever ends first.

    The learning rate rises over the first 2 %, then falls along a cosine to 2 % of its peak.
    """

    def __init__(self, name: str, networks: dict[str, nn.Module], rate: float, setting: Setting) -> None:
        self.name, self.networks, self.rate = name, networks, rate
        self.seconds, self.steps, self.out = setting.seconds, setting.steps, setting.out
        weights = [weight for network in networks.values() for weight in network.parameters() if weight.requires_grad]
        self.weights = weights
        turned = [weight for weight in weights if weight.dim() >= 2 and weight.shape[0] > 1]
        plain = [weight for weight in weights if weight.dim() < 2 or weight.shape[0] == 1]
        self.optimisers = [
            Muon(turned, rate),
            torch.optim.AdamW(plain, rate, betas=(0.9, 0.98), weight_decay=0.0, fused=weights[0].is_cuda),
        ]
        self.smoothed = {key: copy.deepcopy(network).eval().requires_grad_(False) for key, network in networks.items()}
        self.step, self.began, self.kept = 0, time.monotonic(), 0.0
        self.log = (self.out / f"{name}.jsonl").open("w")

    @property
    def progress(self) -> float:
        """Share of the course that is done, 0..1."""
        return min(1.0, max((time.monotonic() - self.began) / self.seconds, self.step / self.steps))

    def goes_on(self) -> bool:
        """Whether another step is due."""
        return self.progress < 1.0

    def update(self, loss: torch.Tensor, every: int, **facts: torch.Tensor) -> None:
        """One optimiser step on `loss`; every `every` steps a line of the log with the loss and `facts`."""
        progress = self.progress
        factor = min(1.0, progress / 0.02 + 0.02) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for weight in self.weights:
            weight.grad = None
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.rate * factor
            optimiser.step()
        self.step += 1
        self._smooth()
        if self.step % every == 1 or every == 1:
            self.note(loss=float(loss.detach()), **{key: float(value.detach()) for key, value in facts.items()})

    @torch.no_grad()
    def _smooth(self) -> None:
        keep = min(0.998, 1 - 1 / (1 + 0.2 * self.step))
        for key, network in self.networks.items():
            ours, theirs = list(self.smoothed[key].parameters()), [weight.detach() for weight in network.parameters()]
            torch._foreach_lerp_(ours, theirs, 1 - keep)  # pyright: ignore[reportPrivateUsage]

    def note(self, **facts: float) -> None:
        """Write a line of the log and show it."""
        line = {"course": self.name, "step": self.step, "second": round(time.monotonic() - self.began, 1), **facts}
        self.log.write(json.dumps(line) + "\n")
        self.log.flush()
        print(" ".join(f"{key}={value:.5g}" if isinstance(value, float) else f"{key}={value}" for key, value in line.items()), flush=True)

    def keep(self, every_seconds: float) -> None:
        """Save now, if that was not done for so long."""
        if time.monotonic() - self.began - self.kept >= every_seconds:
            self.kept = time.monotonic() - self.began
            self.save()

    def save(self) -> None:
        """Write the smoothed weights in half precision to `<out>/<name>.<part>.pt`, a few megabytes each."""
        state = {f"{key}/{name}": value.half() for key, network in self.smoothed.items() for name, value in network.state_dict().items()}
        parts: list[dict[str, torch.Tensor]] = [{}]
        for name, value in state.items():
            if sum(kept.nbytes for kept in parts[-1].values()) + value.nbytes > 14e6:
                parts.append({})
            parts[-1][name] = value.cpu()
        for number, part in enumerate(parts):
            written = self.out / f"{self.name}.{number}.pt.part"
            torch.save(part, written)
            written.replace(self.out / f"{self.name}.{number}.pt")  # a reader sees the old weights or the new ones


def restore(network: nn.Module, folder: Path, name: str, key: str) -> nn.Module:
    """Load the network `key` that the course `name` saved into `folder`; leaves it as it is where there is none."""
    state: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob(f"{name}.[0-9].pt")):
        state |= torch.load(path, map_location="cpu", weights_only=True)
    prefix = f"{key}/"
    if state:
        network.load_state_dict({entry.removeprefix(prefix): value.float() for entry, value in state.items() if entry.startswith(prefix)})
    return network
