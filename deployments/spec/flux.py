"""The request shapes that the Flux endpoints share."""

from typing import Any

from pydantic import AliasChoices, Field

from deployments.spec.fields import Guidance, NegativePrompt, Picture, Steps
from deployments.spec.image import STEPS_ALIASES, ImageRequest
from deployments.spec.inputs import picture
from models.task import FaceToImage, IdentityMethod

# The pipeline's folders, without the single-file copies that lie beside them.
PIPELINE = ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors")

# What the Flux endpoints avoid unless told otherwise; it acts only with cfg above 1.
HOUSE_NEGATIVE = "blurry, low resolution, jpeg artefacts, deformed anatomy, extra limbs, bad hands, watermark, text, oversaturated"
EMBEDDED = "Guidance that the model was distilled with. dev takes it at no cost; schnell has none."
TRUE_CFG = "Classifier-free guidance with the negative prompt: above 1 every step runs the model twice. 1 and below is off."


class FluxRequest(ImageRequest):
    """A prompt for Flux."""

    steps: Steps = Field(default=4, validation_alias=STEPS_ALIASES)
    cfg: Guidance = Field(default=1.0, description=TRUE_CFG)
    guidance: Guidance = Field(default=3.5, validation_alias=AliasChoices("guidance", "guidance_scale"), description=EMBEDDED)

    def flux_fields(self) -> dict[str, Any]:
        """The fields of a Flux task."""
        fields = self.image_fields()
        fields |= {"guidance": self.guidance, "true_cfg": max(1.0, self.cfg)}
        return fields | {"negative_prompt": fields["negative_prompt"] or HOUSE_NEGATIVE}

    @property
    def passes(self) -> float:
        """Runs of the model a step."""
        return 2.0 if self.cfg > 1 else 1.0


class FluxDevRequest(FluxRequest):
    """A prompt for Flux dev."""

    steps: Steps = Field(default=20, validation_alias=STEPS_ALIASES)


class FluxFaceRequest(FluxDevRequest):
    """A prompt and a face."""

    reference_image: Picture = Field(description="A picture with the face to show, as data URL or base64.")
    cfg: Guidance = Field(default=1.0, description="When above 1, another spelling of guidance; 1 leaves it.")
    negative_prompt: NegativePrompt = Field(default=None, description="Accepted; faces on Flux run without a negative pass.")
    face_provider: str = Field(default="CPU", description="Accepted and without effect.", deprecated=True)

    def face_task(self, method: IdentityMethod, seed: int, *, strength: float, start: float = 0.0, end: float = 1.0) -> FaceToImage:
        """The task of this request with its face carried by `method`."""
        means_guidance = self.cfg > 1 and "guidance" not in self.model_fields_set
        guidance = self.cfg if means_guidance else self.guidance
        face = picture(self.reference_image, "reference_image")
        return FaceToImage(
            seed=seed, face=face, method=method, strength=strength, start=start, end=end, guidance=guidance, **self.image_fields()
        )
