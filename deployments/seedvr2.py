"""SeedVR2: pictures restored at another size in one step."""

from math import ceil
from typing import Any

from pydantic import Field, field_validator, model_validator

from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Plan
from deployments.spec.fal import upscale_input
from deployments.spec.fallback import FalModel
from deployments.spec.fields import ImageFormat, Picture, Seed
from deployments.spec.image import FORMAT_DESCRIPTION, UNIT_PIXEL_STEPS, image_endpoint, picture_plan
from deployments.spec.inputs import picture
from deployments.spec.request import Request
from deployments.spec.video import UPSCALER
from models.seedvr2.runner import SeedVR2
from models.task import Upscale
from models.weights import Checkpoint

SEEDVR2 = Deployment(
    name=UPSCALER,
    model="SeedVR2-7B",
    summary="Restores pictures and clips at another size.",
    runner=SeedVR2,
    # Published as pickles: whoever installs the weights converts them once with `python -m models.seedvr2.convert`.
    weights={"base": Checkpoint(repo="ByteDance-Seed/SeedVR2-7B", revision=None, licence="apache-2.0", files=("*.safetensors",))},
    gpu=Gpu(vram_gb=40, share={"L40S": 1.0, "A100-80GB": 0.5}),
    replicas=Replicas(min=0, max=2, target_wait_s=20, longest_s=600),
    seconds_per_unit=3.0,
    burst=Burst(gpu="L40S", cold_start_s=40),
)

HOUSE_RESOLUTION = 1080
HOUSE_SEED = 4105349922  # what this endpoint has always used when a caller gives no seed


class UpscaleRequest(Request):
    """A picture, and how large it shall be."""

    image: Picture
    resolution: int | None = Field(
        default=None, ge=64, le=4096, description=f'Pixels of the short side; {HOUSE_RESOLUTION} unless scale is given. "fixed" is 1080.'
    )
    scale: float | None = Field(default=None, gt=0, le=8, description="The size as a multiple of the picture's own, instead of resolution.")
    max_resolution: int = Field(default=4000, ge=64, le=8192, description="Most pixels of the long side; wins over the others.")
    max_resolution_2: int = Field(default=4000, ge=64, le=8192, description="A second bound on the long side; the smaller one counts.")
    seed: Seed = HOUSE_SEED
    output_format: ImageFormat = Field(default="png", description=FORMAT_DESCRIPTION)

    @field_validator("resolution", mode="before")
    @classmethod
    def _fixed(cls, value: Any) -> Any:
        return HOUSE_RESOLUTION if value == "fixed" else value

    @model_validator(mode="after")
    def _one_size(self) -> "UpscaleRequest":
        if self.resolution is not None and self.scale is not None:
            raise ValueError("give the size by resolution or by scale, not by both")
        return self


def _plan(request: UpscaleRequest, seed: int) -> Plan:
    image = picture(request.image, "image")
    height, width = image.shape[:2]
    short, long = sorted((height, width))
    resolution = request.resolution or HOUSE_RESOLUTION
    if request.scale is not None:
        resolution = max(16, ceil(short * request.scale))
    limit = min(request.max_resolution, request.max_resolution_2)
    task = Upscale(seed=seed, image=image, resolution=resolution, max_resolution=limit)
    growth = min(resolution / short, limit / long)
    units = max(0.1, height * width * growth**2 / UNIT_PIXEL_STEPS)
    return picture_plan(SEEDVR2.name, task, request.output_format, units, resolution=resolution)


DEPLOYMENTS = (SEEDVR2,)
ENDPOINTS = (
    image_endpoint(
        "/seedvr2",
        SEEDVR2.name,
        UpscaleRequest,
        _plan,
        "A picture restored at another size.",
        input_type="image",
        capabilities=("upscaling", "image-to-image"),
        note="Colours are those of the picture that was sent.",
        example={"scale": 2},
        fal=FalModel(id="fal-ai/seedvr/upscale/image", usd_per_image=0.03, arguments=upscale_input, expected_s=20),
    ),
)
