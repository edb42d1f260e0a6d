"""Wan 2.2 I2V, A14B: image to video by two experts, and the same chained into face swap."""

from functools import partial

from pydantic import AliasChoices, Field

from deployments.faceswap import FACE_SWAP
from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Endpoint, Plan, Stage
from deployments.spec.faces import FaceFields
from deployments.spec.fields import FIT_DESCRIPTION, Guidance, Picture, Side, Steps, VideoFormat
from deployments.spec.inputs import picture
from deployments.spec.lora import LoraFields, lora_uses
from deployments.spec.video import CFG_ALIASES, STEPS_ALIASES, VideoRequest, video_plan
from models.task import Fit, ImageToVideo
from models.wan import WanImageToVideo
from models.weights import Checkpoint

WAN_A14B = Deployment(
    name="wan-a14b",
    model="Wan2.2-I2V-A14B",
    summary="Image to video: one expert lays out the motion, the other the detail.",
    runner=partial(WanImageToVideo, flow_shift=5.0),  # the authors' for this model; the checkpoint's own is for text to video
    weights={"base": Checkpoint(repo="Wan-AI/Wan2.2-I2V-A14B-Diffusers", revision=None, licence="apache-2.0")},
    gpu=Gpu(vram_gb=79, share={"A100-80GB": 1.0}),
    replicas=Replicas(min=1, max=2, target_wait_s=120, longest_s=1800),
    lora_slots=1,  # both experts together leave room for one
    lora_rank=32,
    seconds_per_unit=180,
    burst=Burst(gpu="A100-80GB", cold_start_s=75),
)

HOUSE_PROMPT = "natural lifelike motion, steady camera, sharp detail, consistent light"
HOUSE_NEGATIVE = "blurry, low quality, distorted face, deformed hands, extra limbs, flicker, static image, watermark, text"


class Wan22Request(LoraFields, VideoRequest):
    """A picture set in motion by the large model, with LoRAs if any are named."""

    house_negative = HOUSE_NEGATIVE

    prompt: str = Field(default="", max_length=10_000, description="What moves, in words. Empty: a general prompt for natural motion.")
    source_image: Picture = Field(validation_alias=AliasChoices("source_image", "image"), description="The picture to set in motion.")
    width: Side = 512
    height: Side = 768
    steps: Steps = Field(default=20, validation_alias=STEPS_ALIASES)
    cfg: Guidance = Field(default=3.5, validation_alias=CFG_ALIASES)
    fit: Fit = Field(default="smart", description=FIT_DESCRIPTION)


class Wan22FaceSwapRequest(FaceFields, Wan22Request):
    """A picture set in motion by the large model, wearing the given face."""

    face_image: Picture = Field(validation_alias=AliasChoices("face_image", "reference_image"), description="The picture with the face.")
    width: Side = 832
    height: Side = 480
    steps: Steps = Field(default=30, validation_alias=STEPS_ALIASES)
    cfg: Guidance = Field(default=5.0, validation_alias=CFG_ALIASES)
    output_format: VideoFormat = Field(default="mp4", description="Container of the reply.")


def _making(request: Wan22Request, seed: int) -> Stage:
    fields = request.video_fields()
    fields["prompt"] = request.triggered(request.prompt.strip() or HOUSE_PROMPT)
    image = picture(request.source_image, "source_image")
    return Stage(WAN_A14B.name, ImageToVideo(seed=seed, image=image, fit=request.fit, loras=lora_uses(request), **fields))


def _plan(request: Wan22Request, seed: int) -> Plan:
    return video_plan(request, _making(request, seed))


def _swapped_plan(request: Wan22FaceSwapRequest, seed: int) -> Plan:
    swap = request.swap_task(request.face_image, "face_image", seed)
    return video_plan(request, _making(request, seed), Stage(FACE_SWAP.name, swap))


DEPLOYMENTS = (WAN_A14B,)
ENDPOINTS = (
    Endpoint(
        path="/wan22-i2v",
        summary="A picture set in motion by the large model.",
        deployments=(WAN_A14B.name,),
        request=Wan22Request,
        plan=_plan,
        input_type="text+image",
        output_type="video",
        capabilities=("image-to-video", "lora"),
        lora=True,
        note="Both experts run, each on its part of the noise; a portrait is cropped around its face, not through it. "
        "A LoRA with layers of one expert acts on both.",
        example={"prompt": "she turns to the camera and smiles"},
    ),
    Endpoint(
        path="/wan22-i2v-faceswap",
        summary="A picture set in motion by the large model, wearing the given face.",
        deployments=(WAN_A14B.name, FACE_SWAP.name),
        request=Wan22FaceSwapRequest,
        plan=_swapped_plan,
        input_type="text+image",
        output_type="video",
        capabilities=("image-to-video", "face-swap", "lora"),
        lora=True,
        note="Frames stream from the video model into the face swap as they are decoded, and are encoded once.",
        example={"prompt": "she turns to the camera and smiles"},
    ),
)
