"""Lightning: a LoRA with a schedule of its own that makes Qwen-Image paint in four steps. lightx2v/Qwen-Image-Lightning."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from math import log
from pathlib import Path
from typing import Any

from models.errors import BadRequest, WeightsMissing

CHECKPOINT = "lightning"  # how a task asks for it
STEPS = 4
_ADAPTER = "lightning"

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

        file = next(iter(sorted(folder.glob("*-4steps-*.safetensors"))), None)
        if file is None:
            raise WeightsMissing(f"{folder.name} holds no *-4steps-*.safetensors")
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Already found a `peft_config`")  # the slot of LoRAs: two adapters are meant
                pipe.load_lora_weights(folder, weight_name=file.name, adapter_name=_ADAPTER, local_files_only=True)
        except (ValueError, KeyError, RuntimeError) as error:
            raise WeightsMissing(f"{file.name} is no LoRA that can be read: {error}") from error
        if _ADAPTER not in pipe.get_list_adapters().get("transformer", []):
            raise WeightsMissing(f"{file.name} holds no LoRA for this transformer")
        self.pipe = pipe
        self.scheduler: Any = FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config, **_SCHEDULE)
        self._others = [name for name in pipe.transformer.peft_config if name != _ADAPTER]
        self._layer = next(module for module in pipe.transformer.modules() if _ADAPTER in getattr(module, "lora_A", {}))
        self._leave(worn=False)

    @contextmanager
    def on(self) -> Generator[None]:
        """Runs inside paint in four steps; LoRAs that are worn stay on."""
        own = self.pipe.scheduler
        worn = bool(self._others) and not self._layer.disable_adapters
        self.pipe.transformer.enable_adapters()
        self.pipe.transformer.set_adapter([*(self._others if worn else ()), _ADAPTER])
        self.pipe.scheduler = self.scheduler
        try:
            yield
        finally:
            self.pipe.scheduler = own
            self._leave(worn)

    def _leave(self, worn: bool) -> None:
        """The adapters as they are without Lightning."""
        if self._others:
            self.pipe.transformer.set_adapter(self._others)
        if not worn:
            self.pipe.transformer.disable_adapters()


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
