"""Lightning: a LoRA with a schedule of its own that makes Qwen-Image paint in four steps. lightx2v/Qwen-Image-Lightning."""

from collections.abc import Generator
from contextlib import contextmanager
from math import log
from pathlib import Path
from typing import Any

from models.errors import BadRequest, LoraRejected, WeightsMissing
from models.lora.adapter import load_adapter
from models.lora.base import base_of

CHECKPOINT = "lightning"  # how a task asks for it
STEPS = 4
_MOST_RANK = 256  # of its matrices; the published ones have 64

# The authors' schedule: a fixed shift of three that ends at zero, so that four steps stand at 1000, 900, 750 and 500.
_SCHEDULE: dict[str, Any] = {
    "base_shift": log(3),
    "max_shift": log(3),
    "shift": 1.0,
    "shift_terminal": None,
    "use_dynamic_shifting": True,
    "time_shift_type": "exponential",
}


class Lightning:
    """The LoRA on one pipeline, off until it is asked for. `folder` holds the published file for four steps."""

    def __init__(self, pipe: Any, folder: Path) -> None:
        from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

        from models.lora.layer import LoraLinear

        file = next(iter(sorted(folder.glob("*-4steps-*.safetensors"))), None)
        if file is None:
            raise WeightsMissing(f"{folder.name} holds no *-4steps-*.safetensors")
        try:
            adapter = load_adapter(file, base_of(pipe, _MOST_RANK))
        except LoraRejected as error:
            raise WeightsMissing(f"{file.name} is no LoRA for this model: {error.message}") from error
        self.pipe = pipe
        self.scheduler: Any = FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config, **_SCHEDULE)
        self._branches = {name: LoraLinear.at(pipe, name).branch(down.shape[0]) for name, (down, _) in adapter.matrices.items()}
        for name, branch in self._branches.items():
            branch.fill([(adapter.matrices[name], 1.0)])

    @contextmanager
    def on(self) -> Generator[None]:
        """Runs inside paint in four steps; LoRAs that are worn stay on."""
        own = self.pipe.scheduler
        self.pipe.scheduler = self.scheduler
        try:
            self._switch(True)
            yield
        finally:
            self.pipe.scheduler = own
            self._switch(False)

    def _switch(self, on: bool) -> None:
        for branch in self._branches.values():
            branch.switch(on)


@contextmanager
def habit(lightning: Lightning | None, checkpoint: str | None, steps: int) -> Generator[None]:
    """Runs inside are those of `checkpoint`: None for the plain model. Raises BadRequest, and WeightsMissing without Lightning."""
    if checkpoint is None:
        yield
        return
    if checkpoint != CHECKPOINT:
        raise BadRequest(f"checkpoint must be {CHECKPOINT!r} or none, got {checkpoint!r}")
    if lightning is None:
        raise WeightsMissing("the Lightning LoRA is not installed for this model; ask without it, in more steps")
    if not 1 <= steps <= 2 * STEPS:
        raise BadRequest(f"steps must be 1 to {2 * STEPS} with Lightning, which is made for {STEPS}; got {steps}")
    with lightning.on():
        yield
