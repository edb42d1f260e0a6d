"""The request shape that all picture-making endpoints share, and the plan of their one stage."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import AliasChoices, Field

from deployments.spec.endpoint import Capability, Endpoint, InputType, Plan, Stage
from deployments.spec.fallback import ComfyWorkflow, FalModel
from deployments.spec.fields import Guidance, ImageFormat, NegativePrompt, Prompt, Seed, Side, Steps
from deployments.spec.request import Request
from models.media import Encoding
from models.runner import Fact
from models.task import Task, TextToImage

UNIT_PIXEL_STEPS = 1024 * 1024  # a step of a one-megapixel picture is one unit of work
HOUSE_SEED = 42  # what these endpoints have always used when a caller gives no seed

AspectRatio = Literal["1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"]
Sizes = Mapping[AspectRatio, tuple[int, int]]

# Width and height by aspect ratio: about one megapixel, and what the product itself sends for 9:16 and 2:3.
MEGAPIXEL: Sizes = {
    "1:1": (1024, 1024),
    "16:9": (1472, 832),
    "9:16": (832, 1472),
    "4:3": (1152, 864),
    "3:4": (864, 1152),
    "3:2": (1344, 896),
    "2:3": (896, 1344),
}

STEPS_ALIASES = AliasChoices("steps", "num_inference_steps")
CFG_ALIASES = AliasChoices("cfg", "guidance_scale")
ASPECT_DESCRIPTION = "Shape of the picture; when given it decides width and height."
FORMAT_DESCRIPTION = "Format of the reply: PNG is lossless, JPEG and WebP are smaller."


class ImageRequest(Request):
    """What every endpoint that makes a picture from a prompt accepts, in the spellings that callers send."""

    prompt: Prompt
    negative_prompt: NegativePrompt = None
    width: Side = 1024
    height: Side = 1024
    aspect_ratio: AspectRatio | None = Field(default=None, description=ASPECT_DESCRIPTION)
    steps: Steps = Field(default=20, validation_alias=STEPS_ALIASES)
    cfg: Guidance = Field(default=1.0, validation_alias=CFG_ALIASES)
    seed: Seed = HOUSE_SEED
    output_format: ImageFormat = Field(default="png", description=FORMAT_DESCRIPTION)

    def size(self, sizes: Sizes = MEGAPIXEL) -> tuple[int, int]:
        """Width and height: those of the aspect ratio when one is given."""
        return (self.width, self.height) if self.aspect_ratio is None else sizes[self.aspect_ratio]

    def image_fields(self, sizes: Sizes = MEGAPIXEL) -> dict[str, Any]:
        """The fields a picture task takes from every request; a negative prompt of "" is not given."""
        width, height = self.size(sizes)
        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt or None,
            "width": width,
            "height": height,
            "steps": self.steps,
        }


def image_units(task: TextToImage, passes: float = 1.0) -> float:
    """Work of a task: `passes` of the model at each step (2 with classifier-free guidance), over its pixels in megapixels."""
    return task.width * task.height * task.steps * passes / UNIT_PIXEL_STEPS


def image_plan(deployment: str, task: TextToImage, request: ImageRequest, *, passes: float = 1.0, **facts: Fact) -> Plan:
    """The plan of a picture made in one stage; its facts say the steps and whatever else the endpoint wants to tell."""
    return picture_plan(deployment, task, request.output_format, image_units(task, passes), steps=task.steps, **facts)


def picture_plan(deployment: str, task: Task, output_format: ImageFormat, units: float, **facts: Fact) -> Plan:
    """The plan of any task that ends in one picture."""
    return Plan(stages=(Stage(deployment, task),), encoding=Encoding(format=output_format), units=(units,), facts=facts)


def image_endpoint(
    path: str,
    deployment: str,
    request: type[Request],
    plan: Callable[[Any, int], Plan],
    summary: str,
    *,
    input_type: InputType = "text",
    capabilities: tuple[Capability, ...] = ("text-to-image",),
    note: str = "",
    example: dict[str, Any] | None = None,
    fal: FalModel | None = None,
    comfyui: ComfyWorkflow | None = None,
    always_nsfw: bool = False,
) -> Endpoint:
    """An endpoint that makes one picture on one deployment."""
    return Endpoint(
        path=path,
        summary=summary,
        deployments=(deployment,),
        request=request,
        plan=plan,
        input_type=input_type,
        output_type="image",
        capabilities=capabilities,
        lora="lora" in capabilities,
        note=note,
        example=example or {},
        fal=fal,
        comfyui=comfyui,
        always_nsfw=always_nsfw,
    )
