"""What fal's models take: a task as their input, in fal's names, within its limits; and the one that several endpoints share."""

from functools import partial
from typing import Any, Final

from deployments.spec.fallback import Arguments, FalModel
from models.media import as_data_url, write_image
from models.task import EditImage, FaceToImage, Image, TextToImage, Upscale

SEEDS: Final = 2**32

Bounds = tuple[float, float]  # least and most; a value outside is moved to the nearer one


def picture_input(
    task: TextToImage, *, steps: tuple[int, int] | None = None, guidance: Bounds | None = None, negative: bool = False
) -> Arguments:
    """A prompt to a picture. steps, guidance: what the model accepts; None where it takes none. negative: it takes a negative prompt."""
    found = _common(task.prompt, task.seed) | {"image_size": {"width": task.width, "height": task.height}, "output_format": "png"}
    if steps is not None:
        found["num_inference_steps"] = int(_within(task.steps, steps))
    if guidance is not None:
        found["guidance_scale"] = _within(task.guidance, guidance)
    if negative and task.negative_prompt:
        found["negative_prompt"] = task.negative_prompt
    return found


def face_input(task: FaceToImage, *, steps: tuple[int, int] = (1, 50), guidance: Bounds = (1.0, 20.0)) -> Arguments:
    """A prompt and a face to a picture, by PuLID, whatever method the task names."""
    found = picture_input(task, steps=steps, guidance=guidance)
    del found["output_format"]  # this model knows no such field
    start = task.start if task.method == "pulid" else 0.0
    return found | {
        "reference_image_url": _data_url(task.face),
        "id_weight": min(task.strength, 1.0),
        "start_step": round(start * found["num_inference_steps"]),
    }


def edit_input(task: EditImage, *, steps: tuple[int, int], guidance: Bounds) -> Arguments:
    """An instruction and pictures to a picture."""
    return picture_input(task, steps=steps, guidance=guidance, negative=True) | {"image_urls": [_data_url(one) for one in task.images]}


def upscale_input(task: Upscale) -> Arguments:
    """A picture to a larger one."""
    assert task.image is not None, "a picture that comes from another model does not leave the cluster"
    height, width = task.image.shape[:2]
    factor = min(task.resolution / min(height, width), task.max_resolution / max(height, width))
    return {
        "image_url": _data_url(task.image, "png"),
        "upscale_mode": "factor",
        "upscale_factor": _within(factor, (1.0, 10.0)),
        "seed": task.seed % SEEDS,
        "output_format": "png",
    }


def bare_input(task: TextToImage, *, scale: int) -> Arguments:
    """A prompt to a picture by a model that takes neither steps nor guidance, and makes pictures `scale` times as wide and high."""
    found = picture_input(task)
    del found["output_format"]
    return found | {"image_size": {"width": scale * task.width, "height": scale * task.height}}


def _common(prompt: str, seed: int) -> dict[str, Any]:
    return {"prompt": prompt, "seed": seed % SEEDS, "num_images": 1, "enable_safety_checker": True}


def _within(value: float, bounds: Bounds) -> float:
    return min(max(value, bounds[0]), bounds[1])


def _data_url(image: Image, kind: str = "jpeg") -> str:
    data = write_image(image, "png" if kind == "png" else "jpeg")
    return as_data_url(data, f"image/{kind}")


# What SFW calls with a reference picture fall back to, whatever carries the face here. Steps and guidance are kept within what suits it,
# since some of its callers were made for another family of models.
FAL_PULID: Final = FalModel(
    id="fal-ai/flux-pulid", usd_per_megapixel=0.0333, arguments=partial(face_input, steps=(12, 50), guidance=(2.0, 5.0)), expected_s=15
)
