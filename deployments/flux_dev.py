"""FLUX.1 dev: one resident model for six endpoints; plain, LoRAs and realism here, faces in `flux_faces.py`."""

from functools import partial
from typing import Any

from pydantic import Field

from deployments.spec import comfy_graphs
from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Plan
from deployments.spec.fal import picture_input
from deployments.spec.fallback import FalModel
from deployments.spec.flux import PIPELINE, FluxDevRequest
from deployments.spec.image import image_endpoint, image_plan
from deployments.spec.lora import HOUSE_ROLE, RequiredLora, lora_uses
from deployments.spec.request import MarkedRequest
from models.flux import Flux
from models.task import LoraUse, TextToImage
from models.weights import Checkpoint

REALISM = "flux-realism-lora"

FLUX_DEV = Deployment(
    name="flux-dev",
    model="FLUX.1-dev",
    summary="Text to picture, with LoRAs and faces.",
    runner=Flux,
    weights={
        "base": Checkpoint(repo="black-forest-labs/FLUX.1-dev", revision=None, licence="flux-dev-non-commercial", files=PIPELINE),
        "ip_adapter": Checkpoint(
            repo="XLabs-AI/flux-ip-adapter-v2", revision=None, licence="apache-2.0", files=("ip_adapter.safetensors",), optional=True
        ),
        "clip_vision": Checkpoint(
            repo="openai/clip-vit-large-patch14",
            revision=None,
            licence="mit",
            files=("config.json", "model.safetensors"),
            optional=True,
        ),
        "pulid": Checkpoint(
            repo="guozinan/PuLID", revision=None, licence="apache-2.0", files=("pulid_flux_v0.9.1.safetensors",), optional=True
        ),
        "eva_clip": Checkpoint(
            repo="timm/eva02_large_patch14_clip_336.merged2b",
            revision=None,
            licence="mit",
            files=("config.json", "model.safetensors"),
            optional=True,
        ),
        "antelopev2": Checkpoint(
            repo="insightface/antelopev2", revision=None, licence="insightface-non-commercial", files=("*.onnx",), optional=True
        ),
        HOUSE_ROLE + REALISM: Checkpoint(
            repo="XLabs-AI/flux-RealismLora",
            revision=None,
            licence="flux-dev-non-commercial",
            files=("lora.safetensors",),
            optional=True,
        ),
    },
    gpu=Gpu(vram_gb=45, share={"A100-80GB": 0.6, "L40S": 1.0}),
    replicas=Replicas(min=1, max=4, target_wait_s=15, longest_s=180),
    batch=4,
    lora_slots=4,
    seconds_per_unit=0.45,
    burst=Burst(gpu="L40S", cold_start_s=40),
)


class FluxLoraRequest(RequiredLora, FluxDevRequest):
    """A prompt with LoRAs."""


class FluxRealismRequest(MarkedRequest, FluxDevRequest):
    """A prompt for a photo that looks real."""

    realism_strength: float = Field(default=0.85, ge=0, le=2, description="Strength of the realism LoRA; 0.5 to 1 is useful.")


def _task(request: FluxDevRequest, seed: int, **changes: Any) -> TextToImage:
    return TextToImage(seed=seed, **(request.flux_fields() | changes))


def _plan(request: FluxDevRequest, seed: int) -> Plan:
    return image_plan(FLUX_DEV.name, _task(request, seed), request, passes=request.passes)


def _lora_plan(request: FluxLoraRequest, seed: int) -> Plan:
    task = _task(request, seed, prompt=request.triggered(request.prompt), loras=lora_uses(request))
    return image_plan(FLUX_DEV.name, task, request, passes=request.passes)


def _realism_plan(request: FluxRealismRequest, seed: int) -> Plan:
    prompt = request.prompt if request.prompt.lower().startswith("ultra realistic") else f"Ultra realistic, {request.prompt}"
    task = _task(request, seed, prompt=prompt, loras=(LoraUse(REALISM, request.realism_strength),))
    return image_plan(FLUX_DEV.name, task, request, passes=request.passes, nsfw_mode=str(request.nsfw).lower())


FAL_DEV = FalModel(
    id="fal-ai/flux/dev", usd_per_megapixel=0.025, arguments=partial(picture_input, steps=(1, 50), guidance=(1.0, 20.0)), expected_s=8
)
EXAMPLE = {"prompt": "a red fox in fresh snow, morning light"}
LORA_EXAMPLE = EXAMPLE | {"lora_name": "my-character"}
WITH_LORA = ("text-to-image", "lora")

DEPLOYMENTS = (FLUX_DEV,)
ENDPOINTS = (
    image_endpoint(
        "/flux-dev",
        FLUX_DEV.name,
        FluxDevRequest,
        _plan,
        "A picture from a prompt, finer and slower.",
        example=EXAMPLE,
        fal=FAL_DEV,
        comfyui=comfy_graphs.FLUX_DEV,
    ),
    image_endpoint(
        "/flux-dev-lora",
        FLUX_DEV.name,
        FluxLoraRequest,
        _lora_plan,
        "A picture from a prompt with one or more LoRAs.",
        capabilities=WITH_LORA,
        example=LORA_EXAMPLE,
    ),
    image_endpoint(
        "/flux-lora",
        FLUX_DEV.name,
        FluxLoraRequest,
        _lora_plan,
        "The same as /flux-dev-lora, under the name older callers use.",
        capabilities=WITH_LORA,
        example=LORA_EXAMPLE,
    ),
    image_endpoint(
        "/flux-dev-realism",
        FLUX_DEV.name,
        FluxRealismRequest,
        _realism_plan,
        "A photo that looks real, by a LoRA that ships with the model.",
        example=EXAMPLE,
    ),
)
