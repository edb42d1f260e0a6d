"""The runner of Z-Image: text to picture, alone or in batches."""

from collections.abc import Sequence
from typing import Any

from models.acceleration import prepare
from models.denoise import check_size, check_steps, dtype_on, render
from models.lora import LoraSlots, wear
from models.picture_runner import PictureRunner
from models.runner import Call
from models.strict import pipeline
from models.task import TextToImage
from models.torchvision_ops import declare
from models.weights import Loading

PROMPT_TOKENS = 512


class ZImage(PictureRunner):
    """Z-Image Turbo from the diffusers folder of the role "base". Sides are multiples of 16.

    A task's `guidance` is that of the pipeline: prediction + guidance × (prediction − negative prediction), so 0 is off, and one less
    than the "cfg" of other families.
    """

    family = "Z-Image"

    def __init__(self, loading: Loading, slots: LoraSlots | None = None) -> None:
        declare()
        from diffusers.pipelines.z_image.pipeline_z_image import ZImagePipeline

        self.slots = slots
        dtype = dtype_on(loading.device, "bfloat16")
        pipe = pipeline(ZImagePipeline, loading.files["base"], lambda _: dtype)
        pipe.to(loading.device)
        if slots is not None:
            slots.open(pipe)
        self.pipe = prepare(pipe, loading.device, compiled=loading.compiled)
        self.pipe.vae.enable_slicing()  # a batch decodes picture by picture: the peak is that of one

    def pictures(self, tasks: Sequence[TextToImage], calls: Sequence[Call]) -> Any:
        """Tensor (B, 3, H, W) in 0..1 of tasks with equal `batch_key`."""
        shared = tasks[0]
        check_size(shared.width, shared.height, 16)
        check_steps(shared.steps)
        wear(self.slots, self.pipe, shared.loras)
        return render(
            self.pipe,
            tasks,
            calls,
            prompt=[task.prompt for task in tasks],  # lists of its own: the pipeline writes its chat template into them
            negative_prompt=[task.negative_prompt or "" for task in tasks],
            width=shared.width,
            height=shared.height,
            num_inference_steps=shared.steps,
            guidance_scale=shared.guidance,
            max_sequence_length=PROMPT_TOKENS,
        )

    def close(self) -> None:
        """Drop the model."""
        del self.pipe
