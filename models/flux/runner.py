"""The runner of FLUX.1: text to picture, with or without a face, alone or in batches."""

from collections.abc import Hashable, Sequence
from typing import Any

from models.acceleration import prepare
from models.denoise import check_size, check_steps, dtype_on, render
from models.errors import BadRequest
from models.flux.faces import Faces
from models.identity.face_input import FaceReader
from models.lora import LoraSlots, wear
from models.picture_runner import PictureRunner
from models.runner import Call
from models.strict import pipeline
from models.task import FaceToImage, Task, TextToImage
from models.torchvision_ops import declare
from models.weights import Loading

PROMPT_TOKENS = {True: 512, False: 256}  # by whether the transformer embeds guidance: dev does, schnell was distilled without


class Flux(PictureRunner):
    """FLUX.1 schnell or dev, whichever diffusers folder plays the role "base". Sides are multiples of 16.

    Faces need more roles, see `models.flux.faces`. Whatever is loaded, each kind of task runs as on a pipeline of its own.
    """

    family = "Flux"

    def __init__(self, loading: Loading, slots: LoraSlots | None = None, *, reader: FaceReader | None = None) -> None:
        declare()
        from models.flux.pipeline import FacePipeline

        self.slots = slots
        dtype = dtype_on(loading.device, "bfloat16")
        pipe = pipeline(FacePipeline, loading.files["base"], lambda _: dtype)
        pipe.to(loading.device)
        # The order matters: slots grow on plain layers, adapters replace attention, hooks come last and before compiling.
        if slots is not None:
            slots.open(pipe)
        self.faces = Faces(pipe, loading, reader)
        self.pipe = prepare(pipe, loading.device, compiled=loading.compiled)
        self.pipe.vae.enable_slicing()  # a batch decodes picture by picture: the peak is that of one

    def batch_key(self, task: Task) -> Hashable:
        """What tasks must share to run in one batch; prompts, seeds, faces and their strengths may differ."""
        task = self.mine(task)
        face = (task.method, task.start, task.end) if isinstance(task, FaceToImage) else None
        return (task.width, task.height, task.steps, task.guidance, task.true_cfg, task.loras, face)

    def ready(self, task: TextToImage, call: Call) -> None:
        """Read the face ahead. Raises NoFaceFound."""
        if isinstance(task, FaceToImage):
            self.faces.read(task, call)

    def pictures(self, tasks: Sequence[TextToImage], calls: Sequence[Call]) -> Any:
        """Tensor (B, 3, H, W) in 0..1 of tasks with equal `batch_key`."""
        shared = tasks[0]
        check_size(shared.width, shared.height, 16)
        check_steps(shared.steps)
        arguments: dict[str, Any] = _guidance(tasks) | {
            "prompt": [task.prompt for task in tasks],
            "width": shared.width,
            "height": shared.height,
            "num_inference_steps": shared.steps,
            "max_sequence_length": PROMPT_TOKENS[self.pipe.transformer.config.guidance_embeds],
        }
        wear(self.slots, self.pipe, shared.loras)
        with self.faces.wearing(tasks, calls) as (face_arguments, on_step):
            return render(self.pipe, tasks, calls, on_step=on_step, **arguments, **face_arguments)

    def close(self) -> None:
        """Drop the model."""
        del self.pipe, self.faces


def _guidance(tasks: Sequence[TextToImage]) -> dict[str, Any]:
    """Embedded guidance, and true classifier-free guidance when it is above 1."""
    shared = tasks[0]
    if shared.true_cfg < 1:
        raise BadRequest(f"true_cfg must be at least 1 (1 is off), got {shared.true_cfg}")
    arguments: dict[str, Any] = {"guidance_scale": shared.guidance}
    if shared.true_cfg > 1:
        negatives = [task.negative_prompt or "" for task in tasks]
        arguments |= {"true_cfg_scale": shared.true_cfg, "negative_prompt": negatives}
    return arguments
