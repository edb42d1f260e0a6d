"""Qwen-Image-2512: pictures from prompts, in full, in four steps, with LoRAs, and with a face swapped in afterwards."""

from functools import partial
from typing import Any

from pydantic import AliasChoices, Field

from deployments.faceswap import FACE_SWAP
from deployments.spec import comfy_graphs
from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Endpoint, Plan, Stage
from deployments.spec.faces import FaceFields
from deployments.spec.fal import picture_input
from deployments.spec.fallback import FalModel
from deployments.spec.fields import Guidance, Picture, Seed, Side, Steps
from deployments.spec.image import CFG_ALIASES, STEPS_ALIASES, ImageRequest, image_endpoint, image_plan, image_units
from deployments.spec.lora import RequiredLora, lora_uses
from deployments.spec.qwen import LIGHTNING_STEPS, QWEN_NEGATIVE, QWEN_SIZES, LightningChoice
from models.media import Encoding
from models.qwen_image import QwenImage
from models.task import TextToImage
from models.weights import Checkpoint

QWEN_IMAGE = Deployment(
    name="qwen-image-2512",
    model="Qwen-Image-2512",
    summary="Text to picture, strong at long prompts and at writing.",
    runner=QwenImage,
    weights={
        "base": Checkpoint(repo="Qwen/Qwen-Image-2512", revision=None, licence="apache-2.0"),
        "lightning": Checkpoint(
            repo="lightx2v/Qwen-Image-2512-Lightning",
            revision=None,
            licence="apache-2.0",
            files=("Qwen-Image-2512-Lightning-4steps-V1.0-bf16.safetensors",),
            optional=True,
        ),
    },
    gpu=Gpu(vram_gb=68, share={"A100-80GB": 1.0}),
    replicas=Replicas(min=1, max=3, target_wait_s=20, longest_s=300),
    batch=2,
    lora_slots=4,
    seconds_per_unit=0.5,
    burst=Burst(gpu="A100-80GB", cold_start_s=60),
)


class QwenRequest(ImageRequest):
    """A prompt for Qwen-Image."""

    width: Side = 1328
    height: Side = 1328
    steps: Steps = Field(default=50, validation_alias=STEPS_ALIASES)
    cfg: Guidance = Field(default=4.0, validation_alias=CFG_ALIASES)
    seed: Seed = None

    def task(self, seed: int, **changes: Any) -> TextToImage:
        """The task of this request."""
        fields = self.image_fields(QWEN_SIZES)
        fields |= {"negative_prompt": fields["negative_prompt"] or QWEN_NEGATIVE, "guidance": self.cfg}
        return TextToImage(seed=seed, **(fields | changes))


class Qwen2512Request(LightningChoice, QwenRequest):
    """A prompt for Qwen-Image, in full or in four steps."""


class QwenFastRequest(QwenRequest):
    """A prompt for Qwen-Image in four steps."""

    steps: int = Field(default=LIGHTNING_STEPS, ge=1, le=8, validation_alias=STEPS_ALIASES, description="Denoising steps; made for four.")
    cfg: Guidance = Field(default=1.0, validation_alias=CFG_ALIASES)
    use_lightning_lora: bool = Field(default=True, description="Accepted; this endpoint always paints with it.", deprecated=True)


class QwenLoraRequest(RequiredLora, QwenRequest):
    """A prompt with LoRAs."""


class _FaceSwapFields(FaceFields):
    reference_image: Picture = Field(
        validation_alias=AliasChoices("reference_image", "face_image"),
        description="The picture with the face to use, as data URL or base64.",
    )


class QwenFaceSwapRequest(_FaceSwapFields, QwenRequest):
    """A prompt, and the face that the picture shall wear."""


class QwenFaceSwapFastRequest(_FaceSwapFields, QwenFastRequest):
    """A prompt in four steps, and the face that the picture shall wear."""


def _passes(task: TextToImage) -> float:
    return 2.0 if task.guidance > 1 else 1.0


def _one_stage(task: TextToImage, request: QwenRequest) -> Plan:
    return image_plan(QWEN_IMAGE.name, task, request, passes=_passes(task))


def _plan(request: Qwen2512Request, seed: int) -> Plan:
    return _one_stage(request.task(seed, **request.lightning_fields()), request)


def _fast_plan(request: QwenFastRequest, seed: int) -> Plan:
    return _one_stage(request.task(seed, checkpoint="lightning"), request)


def _lora_plan(request: QwenLoraRequest, seed: int) -> Plan:
    return _one_stage(request.task(seed, prompt=request.triggered(request.prompt), loras=lora_uses(request)), request)


def _swapped_plan(request: QwenFaceSwapRequest | QwenFaceSwapFastRequest, seed: int) -> Plan:
    fast = isinstance(request, QwenFaceSwapFastRequest)
    task = request.task(seed, checkpoint="lightning" if fast else None)
    swap = request.swap_task(request.reference_image, "reference_image", seed)
    return Plan(
        stages=(Stage(QWEN_IMAGE.name, task), Stage(FACE_SWAP.name, swap)),
        encoding=Encoding(format=request.output_format),
        units=(image_units(task, _passes(task)), 1.0),
        facts={"steps": task.steps},
    )


def _swap_endpoint(path: str, request: type[_FaceSwapFields], summary: str) -> Endpoint:
    return Endpoint(
        path=path,
        summary=summary,
        deployments=(QWEN_IMAGE.name, FACE_SWAP.name),
        request=request,
        plan=_swapped_plan,
        input_type="text+image",
        output_type="image",
        capabilities=("text-to-image", "face-swap"),
        note="Two models in a row; where the picture shows no face, `X-Faces-Swapped` is 0 of 1 unless require_face is set.",
        example={"prompt": "portrait of a woman in a library, facing the camera"},
    )


# The vendor has no Lightning: what was meant for four steps gets as many as the model needs, and its usual guidance.
FAL_2512 = FalModel(
    id="fal-ai/qwen-image-2512",
    usd_per_megapixel=0.02,
    arguments=partial(picture_input, steps=(20, 50), guidance=(3.0, 20.0), negative=True),
    expected_s=12,
)
EXAMPLE = {"prompt": "a shop window with the words 'open late' in neon", "aspect_ratio": "3:2"}

DEPLOYMENTS = (QWEN_IMAGE,)
ENDPOINTS = (
    image_endpoint(
        "/qwen-image-2512",
        QWEN_IMAGE.name,
        Qwen2512Request,
        _plan,
        "A picture from a prompt, in full.",
        example=EXAMPLE,
        fal=FAL_2512,
        comfyui=comfy_graphs.QWEN_IMAGE,
    ),
    image_endpoint(
        "/qwen-image-2512-fast",
        QWEN_IMAGE.name,
        QwenFastRequest,
        _fast_plan,
        "A picture from a prompt in four steps.",
        example=EXAMPLE,
        fal=FAL_2512,
        comfyui=comfy_graphs.QWEN_IMAGE,
    ),
    image_endpoint(
        "/qwen-image-2512-lora",
        QWEN_IMAGE.name,
        QwenLoraRequest,
        _lora_plan,
        "A picture from a prompt with one or more LoRAs.",
        capabilities=("text-to-image", "lora"),
        example=EXAMPLE | {"lora_name": "my-character"},
    ),
    _swap_endpoint("/qwen-faceswap", QwenFaceSwapRequest, "A picture from a prompt, wearing the given face."),
    _swap_endpoint("/qwen-faceswap-fast", QwenFaceSwapFastRequest, "A picture from a prompt in four steps, wearing the given face."),
)
