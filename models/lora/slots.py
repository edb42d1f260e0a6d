"""What a runner asks of LoRAs; `models.lora.stack` fulfils it."""

from typing import Any, Protocol

from models.errors import BadRequest
from models.task import LoraUse


class LoraSlots(Protocol):
    """Slots for LoRAs on a pipeline."""

    def open(self, pipe: Any) -> None:
        """Open the slots. Called once a pipeline, before IP-Adapters and hooks go on: adapters must find the plain layers."""
        ...

    def wear(self, pipe: Any, loras: tuple[LoraUse, ...]) -> None:
        """Put on exactly `loras` for the next run; none gives the base model. Raises NotFound or LoraRejected."""
        ...


def wear(slots: LoraSlots | None, pipe: Any, loras: tuple[LoraUse, ...]) -> None:
    """Put `loras` on; without slots only a task without LoRAs passes."""
    if slots is not None:
        slots.wear(pipe, loras)
    elif loras:
        names = ", ".join(repr(lora.name) for lora in loras)
        raise BadRequest(f"this model has no LoRA slots, so it cannot wear {names}; send the prompt to an endpoint with LoRAs")
