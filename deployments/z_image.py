"""Z-Image Turbo: pictures in few steps; plain, in photographic styles, and with LoRAs."""

from functools import partial
from typing import Literal

from pydantic import Field

from deployments.spec import comfy_graphs
from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Plan
from deployments.spec.fal import picture_input
from deployments.spec.fallback import FalModel
from deployments.spec.fields import Guidance, Seed, Steps
from deployments.spec.image import CFG_ALIASES, STEPS_ALIASES, ImageRequest, image_endpoint, image_plan
from deployments.spec.lora import RequiredLora, lora_uses
from deployments.spec.request import MarkedRequest
from models.task import LoraUse, TextToImage
from models.weights import Checkpoint
from models.z_image import ZImage

Z_IMAGE = Deployment(
    name="z-image",
    model="Z-Image-Turbo",
    summary="Text to picture in four to nine steps.",
    runner=ZImage,
    weights={"base": Checkpoint(repo="Tongyi-MAI/Z-Image-Turbo", revision=None, licence="apache-2.0")},
    gpu=Gpu(vram_gb=25, share={"L40S": 0.55, "A100-80GB": 0.33}),
    replicas=Replicas(min=1, max=4, target_wait_s=10, longest_s=120),
    batch=4,
    lora_slots=4,
    seconds_per_unit=0.3,
    burst=Burst(gpu="L40S", cold_start_s=25),
)

CFG_NOTE = "Guidance on top of the distilled model, with a second pass a step; 0 and 1 are off, which is what it was trained for."


class ZImageRequest(ImageRequest):
    """A prompt for Z-Image Turbo."""

    steps: Steps = Field(default=4, validation_alias=STEPS_ALIASES)
    cfg: Guidance = Field(default=0.0, validation_alias=CFG_ALIASES, description=CFG_NOTE)


class DanrisiRequest(ZImageRequest):
    """A prompt for more steps."""

    steps: Steps = Field(default=8, validation_alias=STEPS_ALIASES)


Style = Literal["snapshot", "instagram", "cinematic", "candid"]

# What a style puts before the prompt.
STYLES: dict[Style, str] = {
    "snapshot": "Casual smartphone snapshot, natural light, everyday setting, true skin texture.",
    "instagram": "Polished social-media photo, golden-hour light, shallow depth of field, vivid but natural colours.",
    "cinematic": "Film still on 35 mm stock, anamorphic lens, dramatic side light, rich shadows.",
    "candid": "Unposed instant-camera photo, direct flash, slight motion, honest expression.",
}
UNREAL = "cartoon, 3d render, painting, plastic skin, airbrushed, extra fingers, deformed hands, watermark, text"


class RealismRequest(ZImageRequest):
    """A prompt in a photographic style."""

    style: Style = Field(default="snapshot", description="Look of the photo.")


class ZImageLoraRequest(MarkedRequest, RequiredLora, ZImageRequest):
    """A prompt with LoRAs."""

    steps: Steps = Field(default=9, validation_alias=STEPS_ALIASES)
    cfg: Guidance = Field(default=1.0, validation_alias=CFG_ALIASES, description=CFG_NOTE)
    seed: Seed = None


def _task(request: ZImageRequest, seed: int, *, prompt: str, negative: str | None = None, loras: tuple[LoraUse, ...] = ()) -> TextToImage:
    fields = request.image_fields()
    fields |= {"prompt": prompt, "negative_prompt": fields["negative_prompt"] or negative}
    # The pipeline counts guidance from 0 where callers count cfg from 1.
    return TextToImage(seed=seed, guidance=max(0.0, request.cfg - 1), loras=loras, **fields)


def _passes(request: ZImageRequest) -> float:
    return 2.0 if request.cfg > 1 else 1.0


def _plan(request: ZImageRequest, seed: int) -> Plan:
    return image_plan(Z_IMAGE.name, _task(request, seed, prompt=request.prompt), request, passes=_passes(request))


def _nsfw_plan(request: ZImageRequest, seed: int) -> Plan:
    return image_plan(Z_IMAGE.name, _task(request, seed, prompt=request.prompt), request, passes=_passes(request), nsfw_mode="true")


def _realism_plan(request: RealismRequest, seed: int) -> Plan:
    task = _task(request, seed, prompt=f"{STYLES[request.style]} {request.prompt}", negative=UNREAL)
    return image_plan(Z_IMAGE.name, task, request, passes=_passes(request), style=request.style)


def _lora_plan(request: ZImageLoraRequest, seed: int) -> Plan:
    task = _task(request, seed, prompt=request.triggered(request.prompt), loras=lora_uses(request))
    return image_plan(Z_IMAGE.name, task, request, passes=_passes(request), nsfw_mode=str(request.nsfw).lower())


FAL_TURBO = FalModel(id="fal-ai/z-image/turbo", usd_per_megapixel=0.005, arguments=partial(picture_input, steps=(1, 8)), expected_s=4)
EXAMPLE = {"prompt": "a woman reading in a sunlit café, window seat"}

DEPLOYMENTS = (Z_IMAGE,)
ENDPOINTS = (
    image_endpoint(
        "/z-image-simple",
        Z_IMAGE.name,
        ZImageRequest,
        _plan,
        "A picture from a prompt in four steps.",
        example=EXAMPLE,
        fal=FAL_TURBO,
        comfyui=comfy_graphs.Z_IMAGE,
    ),
    image_endpoint(
        "/z-image-danrisi",
        Z_IMAGE.name,
        DanrisiRequest,
        _plan,
        "A picture from a prompt in eight steps.",
        example=EXAMPLE,
        fal=FAL_TURBO,
        comfyui=comfy_graphs.Z_IMAGE,
    ),
    image_endpoint(
        "/z-image-realism",
        Z_IMAGE.name,
        RealismRequest,
        _realism_plan,
        "A photo in one of four styles.",
        note="`X-Style` says which style it was.",
        example=EXAMPLE | {"style": "cinematic"},
        fal=FAL_TURBO,
        comfyui=comfy_graphs.Z_IMAGE,
    ),
    image_endpoint(
        "/z-image-nsfw",
        Z_IMAGE.name,
        ZImageRequest,
        _nsfw_plan,
        "The same as /z-image-simple, under the name that adult products call.",
        example=EXAMPLE,
        comfyui=comfy_graphs.Z_IMAGE,
        always_nsfw=True,
    ),
    image_endpoint(
        "/z-image-lora",
        Z_IMAGE.name,
        ZImageLoraRequest,
        _lora_plan,
        "A picture from a prompt with one or more LoRAs.",
        capabilities=("text-to-image", "lora"),
        example=EXAMPLE | {"lora_name": "my-character"},
    ),
)
