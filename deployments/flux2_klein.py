"""FLUX.2 klein 4B: pictures in four steps, from a prompt alone or with reference pictures."""

from pydantic import AliasChoices, Field

from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Plan
from deployments.spec.fields import NegativePrompt, Picture, Steps
from deployments.spec.flux import PIPELINE
from deployments.spec.image import CFG_ALIASES, STEPS_ALIASES, UNIT_PIXEL_STEPS, ImageRequest, image_endpoint, image_plan
from deployments.spec.inputs import picture
from models.flux2 import MOST_IMAGES, Flux2Klein
from models.task import EditImage, Image, TextToImage
from models.weights import Checkpoint

FLUX2_KLEIN = Deployment(
    name="flux2-klein",
    model="FLUX.2-klein-4B",
    summary="Text and reference pictures to a picture in four steps.",
    runner=Flux2Klein,
    weights={"base": Checkpoint(repo="black-forest-labs/FLUX.2-klein-4B", revision=None, licence="apache-2.0", files=PIPELINE)},
    gpu=Gpu(vram_gb=20, share={"L40S": 0.45, "A100-80GB": 0.25}),
    replicas=Replicas(min=0, max=3, target_wait_s=10, longest_s=120),
    batch=4,
    seconds_per_unit=0.25,
    burst=Burst(gpu="L40S", cold_start_s=25),
)


class KleinRequest(ImageRequest):
    """A prompt, with pictures to draw on if you like."""

    steps: Steps = Field(default=4, validation_alias=STEPS_ALIASES)
    cfg: float = Field(
        default=1.0, ge=0, le=30, validation_alias=CFG_ALIASES, description="Accepted and without effect: klein is distilled."
    )
    negative_prompt: NegativePrompt = Field(default=None, description="Accepted and without effect: klein is distilled.")
    reference_images: tuple[Picture, ...] = Field(
        default=(),
        max_length=MOST_IMAGES,
        validation_alias=AliasChoices("reference_images", "images"),
        description="Pictures to edit or draw on. Without a size of your own the result has the shape of the first.",
    )


def _plan(request: KleinRequest, seed: int) -> Plan:
    fields = request.image_fields()
    fields |= {"negative_prompt": None, "guidance": 1.0}
    images = tuple(picture(text, f"reference_images[{index}]") for index, text in enumerate(request.reference_images))
    if not images:
        return image_plan(FLUX2_KLEIN.name, TextToImage(seed=seed, **fields), request)
    if not request.model_fields_set & {"width", "height", "aspect_ratio"}:
        fields |= dict(zip(("width", "height"), shape_of(images[0]), strict=True))
    task = EditImage(seed=seed, images=images, **fields)
    return image_plan(FLUX2_KLEIN.name, task, request, passes=1.0 + len(images), reference_count=len(images))


def shape_of(image: Image) -> tuple[int, int]:
    """Width and height of a megapixel in the shape of `image`, in multiples of 16; a smaller picture keeps its size."""
    height, width = image.shape[:2]
    scale = min(1.0, (UNIT_PIXEL_STEPS / (width * height)) ** 0.5)
    sides = [max(128, round(side * scale / 16) * 16) for side in (width, height)]
    return sides[0], sides[1]


DEPLOYMENTS = (FLUX2_KLEIN,)
ENDPOINTS = (
    image_endpoint(
        "/flux2-klein",
        FLUX2_KLEIN.name,
        KleinRequest,
        _plan,
        "A picture from a prompt in four steps, with or without reference pictures.",
        input_type="text+image",
        capabilities=("text-to-image", "image-to-image", "editing"),
        example={"prompt": "a red fox in fresh snow, morning light"},
    ),
)
