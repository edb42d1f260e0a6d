"""The runner of SDXL: text to picture on any checkpoint of the family, with or without a face, alone or in batches."""

from collections.abc import Hashable, Sequence
from typing import Any

from models.denoise import check_size, render
from models.errors import BadRequest
from models.identity.face_input import FaceReader
from models.lora import LoraSlots, wear
from models.picture_runner import PictureRunner
from models.runner import Call
from models.sdxl.checkpoints import HABITS, Checkpoints, Habits
from models.sdxl.faces import Faces
from models.sdxl.samplers import check_names, scheduler_for
from models.task import FaceToImage, Task, TextToImage
from models.torchvision_ops import declare
from models.weights import Loading


class Sdxl(PictureRunner):
    """SDXL base and what is made from it; `models.sdxl.checkpoints` and `models.sdxl.faces` name the roles. Sides are multiples of 8."""

    family = "SDXL"

    def __init__(
        self,
        loading: Loading,
        slots: LoraSlots | None = None,
        *,
        spare_checkpoints: int = 1,
        reader: FaceReader | None = None,
    ) -> None:
        declare()
        self.slots = slots
        self.faces = Faces(loading, reader)
        self.checkpoints = Checkpoints(loading, self._fit, spare_checkpoints)

    def batch_key(self, task: Task) -> Hashable:
        """What tasks must share to run in one batch; prompts, seeds, faces and their strengths may differ."""
        task = self.mine(task)
        face = (task.method, task.controlnet_strength, task.start, task.end) if isinstance(task, FaceToImage) else None
        return (task.width, task.height, task.steps, task.guidance, task.loras, task.checkpoint, task.sampler, task.scheduler, face)

    def ready(self, task: TextToImage, call: Call) -> None:
        """Read the face ahead. Raises NoFaceFound."""
        if isinstance(task, FaceToImage):
            self.faces.read(task, call)

    def pictures(self, tasks: Sequence[TextToImage], calls: Sequence[Call]) -> Any:
        """Tensor (B, 3, H, W) in 0..1 of tasks with equal `batch_key`."""
        shared = tasks[0]
        habits = _check(shared)
        loaded = self.checkpoints.get(shared.checkpoint)
        wear(self.slots, loaded, shared.loras)
        pipe, face_arguments = self.faces.view(loaded, _scheduler(loaded.scheduler, shared, habits), tasks, calls)
        return render(
            pipe,
            tasks,
            calls,
            prompt=[task.prompt for task in tasks],
            negative_prompt=[task.negative_prompt or "" for task in tasks],
            width=shared.width,
            height=shared.height,
            num_inference_steps=shared.steps,
            guidance_scale=shared.guidance,
            **face_arguments,
        )

    def resident(self) -> Sequence[str]:
        """Checkpoints beside the base that are loaded."""
        return self.checkpoints.resident

    def close(self) -> None:
        """Drop the models."""
        del self.checkpoints, self.faces

    def _fit(self, pipe: Any) -> None:
        """What a checkpoint goes through when it is loaded: slots grow on plain layers, so they come before the adapter."""
        if self.slots is not None:
            self.slots.open(pipe)
        self.faces.fit(pipe)


def _check(task: TextToImage) -> Habits:
    """Raise BadRequest for what the checkpoint cannot do; returns its habits."""
    check_size(task.width, task.height, 8)
    check_names(task.sampler, task.scheduler)
    habits = HABITS.get(task.checkpoint or "", Habits())
    if not habits.least <= task.steps <= habits.most:
        wanted = f"{habits.least}" if habits.least == habits.most else f"{habits.least} to {habits.most}"
        raise BadRequest(f"steps must be {wanted} for checkpoint {task.checkpoint or 'base'!r}, got {task.steps}")
    return habits


def _scheduler(own: Any, task: TextToImage, habits: Habits) -> Any:
    """The scheduler that the task asks for, else the checkpoint's habit, else its own, as a copy: schedulers carry the run's state."""
    sampler, schedule = task.sampler or habits.sampler, task.scheduler or habits.schedule
    if sampler is None and schedule is None:
        return type(own).from_config(own.config)
    return scheduler_for(own.config, sampler or "euler", schedule or "normal")
