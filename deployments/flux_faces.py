"""Faces on the resident FLUX.1 dev: PuLID and XLabs' IP-Adapter."""

from pydantic import AliasChoices, Field, model_validator

from deployments.flux_dev import FLUX_DEV
from deployments.spec import comfy_graphs
from deployments.spec.endpoint import Plan
from deployments.spec.fal import FAL_PULID
from deployments.spec.fields import Seed
from deployments.spec.flux import FluxFaceRequest
from deployments.spec.image import image_endpoint, image_plan


class PulidRequest(FluxFaceRequest):
    """A prompt and a face, carried by PuLID."""

    pulid_weight: float = Field(
        default=0.9, ge=0, le=2, validation_alias=AliasChoices("pulid_weight", "pulid_strength"), description="How strongly the face shows."
    )
    start_at: float = Field(
        default=0.0,
        ge=0,
        le=1,
        validation_alias=AliasChoices("start_at", "pulid_start"),
        description="Share of the steps before it sets in.",
    )
    end_at: float = Field(
        default=1.0,
        ge=0,
        le=1,
        validation_alias=AliasChoices("end_at", "pulid_end"),
        description="Share of the steps after which it lets go.",
    )
    seed: Seed = None

    @model_validator(mode="after")
    def _rises(self) -> "PulidRequest":
        if self.start_at >= self.end_at:
            raise ValueError(f"start_at must be below end_at, got {self.start_at} and {self.end_at}")
        return self


class IpAdapterRequest(FluxFaceRequest):
    """A prompt and a face, carried by an image adapter."""

    ipadapter_strength: float = Field(default=0.8, ge=0, le=2, description="How strongly the reference shows.")
    timestep_to_start_cfg: int = Field(default=1, description="Accepted and without effect.", deprecated=True)


def _pulid_plan(request: PulidRequest, seed: int) -> Plan:
    task = request.face_task("pulid", seed, strength=request.pulid_weight, start=request.start_at, end=request.end_at)
    return image_plan(FLUX_DEV.name, task, request, pulid_weight=request.pulid_weight)


def _ip_adapter_plan(request: IpAdapterRequest, seed: int) -> Plan:
    return image_plan(FLUX_DEV.name, request.face_task("ip_adapter", seed, strength=request.ipadapter_strength), request)


EXAMPLE = {"prompt": "portrait of a woman in a library"}
WITH_FACE = ("text-to-image", "image-to-image")

ENDPOINTS = (
    image_endpoint(
        "/flux-pulid",
        FLUX_DEV.name,
        PulidRequest,
        _pulid_plan,
        "A picture that shows the person of a face picture.",
        input_type="text+image",
        capabilities=WITH_FACE,
        note="`X-Face-Embedding` says who read the face; without a licensed recogniser it is a stand-in that does not tell people apart.",
        example=EXAMPLE,
        fal=FAL_PULID,
        comfyui=comfy_graphs.FLUX_PULID,
    ),
    image_endpoint(
        "/flux-ipadapter-faceid",
        FLUX_DEV.name,
        IpAdapterRequest,
        _ip_adapter_plan,
        "A picture in the likeness of a face picture, looser than /flux-pulid.",
        input_type="text+image",
        capabilities=WITH_FACE,
        note="An image adapter fed with the cropped head, as it always was despite its name; identity is /flux-pulid's work.",
        example=EXAMPLE,
        fal=FAL_PULID,
    ),
)
