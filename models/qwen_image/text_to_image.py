"""The runner of Qwen-Image: text to picture, alone or in batches, plain or in four steps."""

from collections.abc import Sequence
from typing import Any

from models.denoise import check_size, check_steps, render
from models.lora import LoraSlots, wear
from models.picture_runner import PictureRunner
from models.qwen_image.guidance import PROMPT_TOKENS, guided
from models.qwen_image.lightning import habit
from models.runner import Call
from models.task import TextToImage
from models.torchvision_ops import declare
from models.weights import Loading


class QwenImage(PictureRunner):
    """Qwen-Image-2512 from the diffusers folder of the role "base"; "lightning" is the LoRA for four steps and may be absent.

    Sides are multiples of 16. A task's `guidance` is the pipeline's true CFG; its checkpoint "lightning" paints in four steps.
    """

    family = "Qwen-Image"

    def __init__(self, loading: Loading, slots: LoraSlots | None = None) -> None:
        declare()
        from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline

        from models.qwen_image.loading import load

        self.slots = slots
        self.pipe, self.lightning = load(QwenImagePipeline, loading, slots)

    def pictures(self, tasks: Sequence[TextToImage], calls: Sequence[Call]) -> Any:
        """Tensor (B, 3, H, W) in 0..1 of tasks with equal `batch_key`."""
        shared = tasks[0]
        check_size(shared.width, shared.height, 16)
        check_steps(shared.steps)
        arguments = guided(list(tasks))
        wear(self.slots, self.pipe, shared.loras)
        with habit(self.lightning, shared.checkpoint, shared.steps):
            return render(
                self.pipe,
                tasks,
                calls,
                prompt=[task.prompt for task in tasks],
                width=shared.width,
                height=shared.height,
                num_inference_steps=shared.steps,
                max_sequence_length=PROMPT_TOKENS,
                **arguments,
            )

    def close(self) -> None:
        """Drop the model."""
        del self.pipe, self.lightning
