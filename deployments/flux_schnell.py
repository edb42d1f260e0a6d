"""FLUX.1 schnell: pictures in four steps."""

from functools import partial

from deployments.spec import comfy_graphs
from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Plan
from deployments.spec.fal import picture_input
from deployments.spec.fallback import FalModel
from deployments.spec.flux import PIPELINE, FluxRequest
from deployments.spec.image import image_endpoint, image_plan
from models.flux import Flux
from models.task import TextToImage
from models.weights import Checkpoint

FLUX_SCHNELL = Deployment(
    name="flux-schnell",
    model="FLUX.1-schnell",
    summary="Text to picture in four steps.",
    runner=Flux,
    weights={"base": Checkpoint(repo="black-forest-labs/FLUX.1-schnell", revision=None, licence="apache-2.0", files=PIPELINE)},
    gpu=Gpu(vram_gb=39, share={"A100-80GB": 0.5, "L40S": 1.0}),
    replicas=Replicas(min=0, max=2, target_wait_s=10, longest_s=120),
    batch=4,
    seconds_per_unit=0.45,
    burst=Burst(gpu="L40S", cold_start_s=35),
)


def _plan(request: FluxRequest, seed: int) -> Plan:
    return image_plan(FLUX_SCHNELL.name, TextToImage(seed=seed, **request.flux_fields()), request, passes=request.passes)


FAL_SCHNELL = FalModel(
    id="fal-ai/flux/schnell", usd_per_megapixel=0.003, arguments=partial(picture_input, steps=(1, 12), guidance=(1.0, 20.0)), expected_s=3
)

DEPLOYMENTS = (FLUX_SCHNELL,)
ENDPOINTS = (
    image_endpoint(
        "/flux",
        FLUX_SCHNELL.name,
        FluxRequest,
        _plan,
        "A picture from a prompt in four steps.",
        example={"prompt": "a red fox in fresh snow, morning light"},
        fal=FAL_SCHNELL,
        comfyui=comfy_graphs.FLUX_SCHNELL,
    ),
)
