"""The runner of FLUX.2 klein: text to picture, alone or in batches, and edits of up to a few pictures."""

from collections.abc import Hashable, Sequence
from typing import Any

from models.acceleration import prepare
from models.denoise import check_size, check_steps, dtype_on, render
from models.errors import BadRequest
from models.lora import LoraSlots, wear
from models.picture_runner import PictureRunner
from models.runner import Call
from models.strict import pipeline
from models.task import EditImage, Image, Task, TextToImage
from models.torchvision_ops import declare
from models.weights import Loading

PROMPT_TOKENS = 512
MOST_IMAGES = 4
LEAST_SIDE = 64
MOST_SLENDER = 8  # long side over short side of a reference


class Flux2Klein(PictureRunner):
    """FLUX.2 klein from the diffusers folder of the role "base". Sides are multiples of 16.

    Distilled: it takes neither guidance nor a negative prompt. The pipeline shows its reference pictures to all prompts of a batch,
    so an EditImage is never batched with another task.
    """

    family = "FLUX.2 klein"

    def __init__(self, loading: Loading, slots: LoraSlots | None = None) -> None:
        declare()
        from diffusers.pipelines.flux2.pipeline_flux2_klein import Flux2KleinPipeline

        self.slots = slots
        dtype = dtype_on(loading.device, "bfloat16")
        pipe = pipeline(Flux2KleinPipeline, loading.files["base"], lambda _: dtype)
        pipe.to(loading.device)
        if slots is not None:
            slots.open(pipe)
        self.pipe = prepare(pipe, loading.device, compiled=loading.compiled)
        self.pipe.vae.enable_slicing()  # a batch decodes picture by picture: the peak is that of one

    def batch_key(self, task: Task) -> Hashable:
        """What tasks must share to run in one batch; an edit shares it with no other task."""
        mine = self.mine(task)
        return (mine.width, mine.height, mine.steps, mine.loras, id(task) if isinstance(task, EditImage) else None)

    def pictures(self, tasks: Sequence[TextToImage], calls: Sequence[Call]) -> Any:
        """Tensor (B, 3, H, W) in 0..1 of tasks with equal `batch_key`."""
        from PIL import Image as Pillow

        shared = tasks[0]
        check_size(shared.width, shared.height, 16)
        check_steps(shared.steps)
        images = shared.images if isinstance(shared, EditImage) else ()
        _check_references(images)
        wear(self.slots, self.pipe, shared.loras)
        return render(
            self.pipe,
            tasks,
            calls,
            prompt=[task.prompt for task in tasks],
            image=[Pillow.fromarray(image) for image in images] or None,
            width=shared.width,
            height=shared.height,
            num_inference_steps=shared.steps,
            guidance_scale=1.0,
            max_sequence_length=PROMPT_TOKENS,
        )

    def close(self) -> None:
        """Drop the model."""
        del self.pipe


def _check_references(images: Sequence[Image]) -> None:
    """Raise BadRequest for pictures that the pipeline would refuse."""
    if len(images) > MOST_IMAGES:
        raise BadRequest(f"at most {MOST_IMAGES} reference pictures are taken, got {len(images)}")
    for image in images:
        height, width = image.shape[:2]
        if min(height, width) < LEAST_SIDE or max(height, width) > MOST_SLENDER * min(height, width):
            raise BadRequest(
                f"a reference picture needs sides of at least {LEAST_SIDE} pixels, the longer at most {MOST_SLENDER} times the shorter; "
                f"got {width}x{height}"
            )
