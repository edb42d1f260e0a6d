"""Stable Diffusion XL: InstantID, turbo and lightning, whose checkpoints share one deployment and are loaded as they are asked for."""

from pydantic import Field

from deployments.spec import comfy_graphs
from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Plan
from deployments.spec.fal import FAL_PULID
from deployments.spec.fields import Guidance, Picture, Steps
from deployments.spec.image import CFG_ALIASES, STEPS_ALIASES, ImageRequest, image_endpoint, image_plan
from deployments.spec.inputs import picture
from models.errors import BadRequest
from models.sdxl import Sdxl
from models.sdxl.samplers import SAMPLERS, SCHEDULES, check_names
from models.task import FaceToImage, TextToImage
from models.weights import Checkpoint

HALF = ("model_index.json", "*/*.json", "*/*.txt", "*/*.fp16.safetensors")  # the pipeline's folders, in half precision alone
BASE = "sd_xl_base_1.0"

# Community checkpoints by the name that callers know; each is one file of that name.
COMMUNITY = {
    "RealVisXL_V4.0": Checkpoint(
        repo="SG161222/RealVisXL_V4.0", revision=None, licence="openrail++", files=("RealVisXL_V4.0.safetensors",), optional=True
    ),
    "Juggernaut-XL_v9_RunDiffusionPhoto_v2": Checkpoint(
        repo="RunDiffusion/Juggernaut-XL-v9",
        revision=None,
        licence="unknown",
        files=("Juggernaut-XL_v9_RunDiffusionPhoto_v2.safetensors",),
        optional=True,
    ),
    # Published outside the hub: whoever holds a copy puts it into the mirror under this name.
    "intorealism-xl": Checkpoint(
        repo="community/intorealism-xl", revision=None, licence="unknown", files=("intorealism-xl.safetensors",), optional=True
    ),
}

SDXL = Deployment(
    name="sdxl",
    model="SDXL",
    summary="Text to picture on several checkpoints, with faces.",
    runner=Sdxl,
    weights={
        "base": Checkpoint(repo="stabilityai/stable-diffusion-xl-base-1.0", revision=None, licence="openrail++", files=HALF),
        "turbo": Checkpoint(repo="stabilityai/sdxl-turbo", revision=None, licence="stability-community", files=HALF, optional=True),
        "lightning": Checkpoint(
            repo="ByteDance/SDXL-Lightning",
            revision=None,
            licence="openrail++",
            files=("sdxl_lightning_4step_unet.safetensors",),
            optional=True,
        ),
        "instantid": Checkpoint(
            repo="InstantX/InstantID",
            revision=None,
            licence="apache-2.0",
            files=("ip-adapter.safetensors", "ControlNetModel/*"),
            optional=True,
        ),
        "antelopev2": Checkpoint(
            repo="insightface/antelopev2", revision=None, licence="insightface-non-commercial", files=("*.onnx",), optional=True
        ),
        **COMMUNITY,
    },
    gpu=Gpu(vram_gb=23, share={"L40S": 0.5, "A100-80GB": 0.3}),
    replicas=Replicas(min=1, max=4, target_wait_s=10, longest_s=120),
    batch=4,
    spare_checkpoints=1,
    seconds_per_unit=0.15,
    burst=Burst(gpu="L40S", cold_start_s=25),
)


class InstantIdRequest(ImageRequest):
    """A prompt and a face."""

    reference_image: Picture = Field(description="A picture with the face to show, as data URL or base64.")
    steps: Steps = Field(default=20, validation_alias=STEPS_ALIASES)
    cfg: Guidance = Field(default=7.0, validation_alias=CFG_ALIASES)
    sampler_name: str = Field(default="euler", description="Sampling method.", json_schema_extra={"enum": list(SAMPLERS)})
    scheduler: str = Field(default="normal", description="Noise schedule.", json_schema_extra={"enum": list(SCHEDULES)})
    instantid_strength: float = Field(default=0.8, ge=0, le=2, description="How strongly the face shows.")
    controlnet_strength: float = Field(default=0.8, ge=0, le=2, description="How closely the face keeps its place and pose.")
    sdxl_checkpoint: str = Field(
        default=f"{BASE}.safetensors",
        description="Checkpoint that paints the picture, with or without `.safetensors`.",
        json_schema_extra={"enum": [f"{name}.safetensors" for name in (BASE, *COMMUNITY)]},
    )
    face_provider: str = Field(default="CPU", description="Accepted and without effect.", deprecated=True)


class TurboRequest(ImageRequest):
    """A prompt for one to four steps."""

    steps: int = Field(default=4, ge=1, le=4, validation_alias=STEPS_ALIASES, description="Denoising steps; turbo is made for one to four.")
    cfg: float = Field(default=0.0, ge=0, le=1, validation_alias=CFG_ALIASES, description="Turbo runs without guidance: 0 to 1 is off.")


class LightningRequest(ImageRequest):
    """A prompt for four steps."""

    steps: int = Field(default=4, ge=4, le=4, validation_alias=STEPS_ALIASES, description="Four: the number it was distilled for.")
    cfg: float = Field(default=1.0, ge=0, le=1, validation_alias=CFG_ALIASES, description="Lightning runs without guidance: 0 to 1 is off.")


def checkpoint_of(name: str) -> str | None:
    """The role of the checkpoint that a caller calls `name`; None for the base. Raises BadRequest listing the names."""
    stem = name.removesuffix(".safetensors")
    if stem == BASE:
        return None
    if stem not in COMMUNITY:
        raise BadRequest(f"sdxl_checkpoint must be one of {', '.join((BASE, *COMMUNITY))}; got {name!r}")
    return stem


def _instantid_plan(request: InstantIdRequest, seed: int) -> Plan:
    check_names(request.sampler_name, request.scheduler)
    checkpoint = checkpoint_of(request.sdxl_checkpoint)
    task = FaceToImage(
        seed=seed,
        face=picture(request.reference_image, "reference_image"),
        method="instantid",
        strength=request.instantid_strength,
        controlnet_strength=request.controlnet_strength,
        guidance=request.cfg,
        checkpoint=checkpoint,
        sampler=request.sampler_name,
        scheduler=request.scheduler,
        **request.image_fields(),
    )
    return image_plan(SDXL.name, task, request, passes=3.0 if request.cfg > 1 else 1.5, checkpoint=checkpoint or BASE)


def _turbo_plan(request: TurboRequest, seed: int) -> Plan:
    task = TextToImage(seed=seed, guidance=0.0, checkpoint="turbo", **request.image_fields())
    return image_plan(SDXL.name, task, request, checkpoint="sd_xl_turbo_1.0_fp16")


def _lightning_plan(request: LightningRequest, seed: int) -> Plan:
    task = TextToImage(seed=seed, guidance=0.0, checkpoint="lightning", **request.image_fields())
    return image_plan(SDXL.name, task, request, checkpoint="sdxl_lightning_4step")


DEPLOYMENTS = (SDXL,)
ENDPOINTS = (
    image_endpoint(
        "/sdxl-instantid",
        SDXL.name,
        InstantIdRequest,
        _instantid_plan,
        "A picture that shows the person of a face picture, on a checkpoint of your choice.",
        input_type="text+image",
        capabilities=("text-to-image", "image-to-image"),
        note="`X-Face-Embedding` says who read the face; without a licensed recogniser it is a stand-in that does not tell people apart.",
        example={"prompt": "portrait of a woman in a library"},
        fal=FAL_PULID,
        comfyui=comfy_graphs.INSTANTID,
    ),
    image_endpoint(
        "/sdxl-turbo",
        SDXL.name,
        TurboRequest,
        _turbo_plan,
        "A picture from a prompt in one to four steps.",
        note="Made for 512×512; larger is possible and coarser.",
        example={"prompt": "a red fox in fresh snow", "width": 512, "height": 512},
    ),
    image_endpoint(
        "/sdxl-lightning",
        SDXL.name,
        LightningRequest,
        _lightning_plan,
        "A picture from a prompt in exactly four steps.",
        example={"prompt": "a red fox in fresh snow"},
    ),
)
