"""`POST /generate`: what RYLA's Studio sends, and what is chosen to answer it."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import AliasChoices, Field, model_validator

from deployments.spec.fallback import FalModel
from deployments.spec.fields import ImageFormat, NegativePrompt, Prompt, Seed
from deployments.spec.image import FORMAT_DESCRIPTION, AspectRatio
from deployments.spec.lora import LoraName
from deployments.spec.request import MarkedRequest

Quality = Literal["draft", "standard", "hq"]
Method = Literal["instantid", "pulid", "ipadapter"]


class StudioRequest(MarkedRequest):
    """A picture as Studio asks for it."""

    prompt: Prompt
    nsfw: bool = Field(default=False, description="NSFW calls stay on the cluster, its mirror and the ComfyUI pod; others may go to fal.")
    negative_prompt: NegativePrompt = Field(default=None, validation_alias=AliasChoices("negative_prompt", "negativePrompt"))
    use_lora: bool = Field(default=False, validation_alias=AliasChoices("use_lora", "useLora"), description="Use the character's LoRA.")
    lora_id: LoraName | None = Field(
        default=None, validation_alias=AliasChoices("lora_id", "loraId"), description="The character's id; needed when useLora is true."
    )
    lora_strength: float = Field(
        default=1.0, ge=0.1, le=2, validation_alias=AliasChoices("lora_strength", "loraStrength"), description="How strongly the LoRA acts."
    )
    reference_image_url: str | None = Field(
        default=None,
        min_length=1,
        validation_alias=AliasChoices("reference_image_url", "referenceImageUrl"),
        description="A picture with the face to show: a public http(s) link, or a data URL. A LoRA goes before it.",
    )
    reference_strength: float = Field(
        default=0.8,
        ge=0.1,
        le=1,
        validation_alias=AliasChoices("reference_strength", "referenceStrength"),
        description="How strongly the face shows.",
    )
    reference_method: Method = Field(
        default="instantid", validation_alias=AliasChoices("reference_method", "referenceMethod"), description="What carries the face."
    )
    model_provider: Literal["modal", "comfyui", "fal"] | None = Field(
        default=None,
        validation_alias=AliasChoices("model_provider", "modelProvider"),
        description="fal: that vendor alone, for SFW calls without a LoRA. modal and comfyui: our own models, as when it is not given.",
    )
    model_preference: str | None = Field(
        default=None,
        max_length=100,
        validation_alias=AliasChoices("model_preference", "modelPreference", "modelId"),
        description="A model by the id that Studio or fal has for it.",
    )
    quality: Quality = Field(
        default="standard", validation_alias=AliasChoices("quality", "qualityMode"), description="draft is quick, hq takes more steps."
    )
    aspect: AspectRatio = Field(
        default="1:1", validation_alias=AliasChoices("aspect", "aspectRatio", "aspect_ratio"), description="Shape of the picture."
    )
    seed: Seed = None
    output_format: ImageFormat = Field(
        default="png", validation_alias=AliasChoices("output_format", "outputFormat"), description=FORMAT_DESCRIPTION
    )

    @property
    def nsfw_mark(self) -> bool | None:
        """Studio always says: what is not given is SFW, as it is there."""
        return self.nsfw

    @model_validator(mode="after")
    def _lora_is_named(self) -> "StudioRequest":
        if self.use_lora and self.lora_id is None:
            raise ValueError("loraId is required when useLora is true: the character's id")
        return self


@dataclass(frozen=True, slots=True)
class Selection:
    """What answers. rule: why, in a word. fal: the model of fal's that was asked for itself. reference: the field for the picture."""

    rule: str
    path: str
    body: dict[str, Any]
    fal: FalModel | None = None
    reference: str | None = None

    @property
    def may_leave(self) -> bool:
        """Whether a wish for fal as the provider counts."""
        return self.rule not in ("lora", "nsfw")
