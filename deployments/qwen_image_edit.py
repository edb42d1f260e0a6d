"""Qwen-Image-Edit-2511: pictures changed by an instruction, in whole, within a mask, or into another scene."""

from functools import partial
from typing import Any

from pydantic import AliasChoices, Field

from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Plan
from deployments.spec.fal import edit_input
from deployments.spec.fallback import FalModel
from deployments.spec.fields import ImageFormat, Picture, Prompt, Seed
from deployments.spec.image import FORMAT_DESCRIPTION, UNIT_PIXEL_STEPS, image_endpoint, picture_plan
from deployments.spec.inputs import mask, picture
from deployments.spec.qwen import EDIT_NEGATIVE, LightningChoice
from models.qwen_image import QwenImageEdit
from models.task import EditImage, Image, InpaintImage
from models.weights import Checkpoint

QWEN_EDIT = Deployment(
    name="qwen-image-edit-2511",
    model="Qwen-Image-Edit-2511",
    summary="Changes pictures as told, in whole or within a mask.",
    runner=QwenImageEdit,
    weights={
        "base": Checkpoint(repo="Qwen/Qwen-Image-Edit-2511", revision=None, licence="apache-2.0"),
        "lightning": Checkpoint(
            repo="lightx2v/Qwen-Image-Edit-2511-Lightning",
            revision=None,
            licence="apache-2.0",
            files=("Qwen-Image-Edit-2511-Lightning-4steps-V1.0-bf16.safetensors",),
            optional=True,
        ),
    },
    gpu=Gpu(vram_gb=72, share={"A100-80GB": 1.0}),
    replicas=Replicas(min=0, max=3, target_wait_s=20, longest_s=400),
    seconds_per_unit=0.6,
    burst=Burst(gpu="A100-80GB", cold_start_s=60),
)

DENOISE = "Accepted and without effect: the picture guides the model all the way now, instead of being where its noise starts."


class _EditSettings(LightningChoice):
    seed: Seed = None
    output_format: ImageFormat = Field(default="png", description=FORMAT_DESCRIPTION)

    def fields(self, prompt: str) -> dict[str, Any]:
        """The fields of an edit task that do not depend on its pictures."""
        return {"prompt": prompt, "negative_prompt": EDIT_NEGATIVE, **self.lightning_fields()}


class EditRequest(_EditSettings):
    """A picture and what to change in it."""

    source_image: Picture = Field(validation_alias=AliasChoices("source_image", "image"), description="The picture to change.")
    instruction: Prompt = Field(validation_alias=AliasChoices("instruction", "prompt"))
    reference_images: tuple[Picture, ...] = Field(default=(), max_length=2, description="Up to two more pictures to draw on.")
    denoise: float = Field(default=0.8, ge=0, le=1, description=DENOISE, deprecated=True)


class InpaintRequest(_EditSettings):
    """A picture, the part of it to repaint, and what to paint there."""

    source_image: Picture = Field(validation_alias=AliasChoices("source_image", "image"), description="The picture to change.")
    mask_image: Picture = Field(
        validation_alias=AliasChoices("mask_image", "mask"), description="White where the picture changes, black where it stays; any size."
    )
    prompt: Prompt = Field(validation_alias=AliasChoices("prompt", "instruction"))
    feather: int = Field(default=8, ge=0, le=256, description="Pixels over which the change fades in, inside the mask.")


class SceneRequest(_EditSettings):
    """A character and the scene to put them in."""

    character_image: Picture = Field(validation_alias=AliasChoices("character_image", "source_image"), description="The character.")
    scene: Prompt = Field(validation_alias=AliasChoices("scene", "prompt"), description="The scene, in words.")
    denoise: float = Field(default=0.7, ge=0, le=1, description=DENOISE, deprecated=True)


def _plan_of(task: EditImage, request: _EditSettings, **facts: str) -> Plan:
    passes = 2.0 if task.guidance > 1 else 1.0
    reference_pixels = len(task.images) * UNIT_PIXEL_STEPS  # each picture goes along as a megapixel of clean latents
    units = passes * task.steps * (task.width * task.height + reference_pixels) / UNIT_PIXEL_STEPS
    return picture_plan(QWEN_EDIT.name, task, request.output_format, units, steps=task.steps, **facts)


def _edit_task(images: tuple[Image, ...], fields: dict[str, Any], seed: int) -> EditImage:
    height, width = images[0].shape[:2]
    return EditImage(seed=seed, images=images, width=width, height=height, **fields)


def _edit_plan(request: EditRequest, seed: int) -> Plan:
    others = tuple(picture(text, f"reference_images[{index}]") for index, text in enumerate(request.reference_images))
    images = (picture(request.source_image, "source_image"), *others)
    return _plan_of(_edit_task(images, request.fields(request.instruction), seed), request)


def _inpaint_plan(request: InpaintRequest, seed: int) -> Plan:
    source = picture(request.source_image, "source_image")
    height, width = source.shape[:2]
    task = InpaintImage(
        seed=seed,
        images=(source,),
        width=width,
        height=height,
        mask=mask(request.mask_image, "mask_image"),
        feather=request.feather,
        **request.fields(request.prompt),
    )
    return _plan_of(task, request, inpaint_method="masked-denoising")


def _scene_plan(request: SceneRequest, seed: int) -> Plan:
    instruction = f"Show the same person in this scene: {request.scene}. Keep the face, the hair and the body as they are in the picture."
    images = (picture(request.character_image, "character_image"),)
    return _plan_of(_edit_task(images, request.fields(instruction), seed), request)


FAL_EDIT = FalModel(
    id="fal-ai/qwen-image-edit-2511",
    usd_per_megapixel=0.03,
    arguments=partial(edit_input, steps=(20, 50), guidance=(3.0, 20.0)),
    expected_s=15,
)

DEPLOYMENTS = (QWEN_EDIT,)
ENDPOINTS = (
    image_endpoint(
        "/qwen-image-edit-2511",
        QWEN_EDIT.name,
        EditRequest,
        _edit_plan,
        "A picture changed as told.",
        input_type="text+image",
        capabilities=("editing", "image-to-image"),
        note="The result has the size of the source. The model sees the picture; the endpoint this replaces only started from its noise.",
        example={"instruction": "make it a rainy night"},
        fal=FAL_EDIT,
    ),
    image_endpoint(
        "/qwen-image-inpaint-2511",
        QWEN_EDIT.name,
        InpaintRequest,
        _inpaint_plan,
        "A part of a picture repainted; every pixel outside the mask comes back as it was.",
        input_type="text+image+mask",
        capabilities=("editing", "image-to-image"),
        example={"prompt": "a red scarf"},
    ),
    image_endpoint(
        "/qwen-character-scene",
        QWEN_EDIT.name,
        SceneRequest,
        _scene_plan,
        "A character put into another scene.",
        input_type="text+image",
        capabilities=("editing", "image-to-image"),
        example={"scene": "on a balcony above a city at dusk"},
        fal=FAL_EDIT,
    ),
)
