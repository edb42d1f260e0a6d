"""The LoRA fields that requests share. They only name LoRAs; the registry resolves the names before anything is loaded."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.spec.request import Request
from models.task import LoraUse

MAX_LORAS = 4
HOUSE_ROLE = "lora:"  # the role "lora:NAME" among a deployment's weights is a LoRA that ships with it: NAME needs no registry

LoraName = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Strength = Annotated[float, Field(ge=-4, le=4)]


class LoraItem(BaseModel):
    """One of several LoRAs of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: LoraName = Field(description="Name in the registry (`GET /loras`), with or without `.safetensors`.")
    strength: Strength = Field(default=1.0, description="How strongly it acts: 0 not at all, 1 as trained.")


class LoraFields(Request):
    """How callers name LoRAs: one by `lora_name` or by a character's `lora_id`, or several by `loras`."""

    lora_id: LoraName | None = Field(default=None, description="A character's id; tried under the names that training gives its LoRA.")
    lora_name: LoraName | None = Field(default=None, description="Registry name, with or without `.safetensors`. Wins over lora_id.")
    lora_strength: Strength = Field(default=1.0, description="How strongly the LoRA acts: 0 not at all, 1 as trained.")
    trigger_word: str = Field(default="", max_length=200, description="Put before the prompt, with a space.")
    loras: tuple[LoraItem, ...] = Field(default=(), max_length=MAX_LORAS, description=f"Several LoRAs at once, at most {MAX_LORAS}.")

    @model_validator(mode="after")
    def _one_way_of_naming(self) -> "LoraFields":
        if self.loras and (self.lora_id is not None or self.lora_name is not None):
            raise ValueError("name LoRAs either by loras or by lora_name and lora_id, not both")
        return self

    def triggered(self, prompt: str) -> str:
        """`prompt` with the trigger word before it."""
        return f"{self.trigger_word} {prompt}" if self.trigger_word else prompt


class RequiredLora(LoraFields):
    """LoRA fields of an endpoint that exists for LoRAs: one must be named."""

    @model_validator(mode="after")
    def _one_at_least(self) -> "RequiredLora":
        if not self.loras and self.lora_id is None and self.lora_name is None:
            raise ValueError("lora_id or lora_name is required (or several LoRAs in loras)")
        return self


ID_PREFIX = "id:"  # marks a name that is a character's id; the registry tries the names that training gives


def lora_uses(request: LoraFields) -> tuple[LoraUse, ...]:
    """The LoRAs that `request` names, as it names them: registry names, or a character's id after `ID_PREFIX`."""
    if request.loras:
        return tuple(LoraUse(stem(item.name), item.strength) for item in request.loras)
    if request.lora_name is not None:
        return (LoraUse(stem(request.lora_name), request.lora_strength),)
    if request.lora_id is not None:
        return (LoraUse(ID_PREFIX + request.lora_id, request.lora_strength),)
    return ()


def stem(name: str) -> str:
    """A LoRA's name without the ending that callers may add."""
    return name.removesuffix(".safetensors")
