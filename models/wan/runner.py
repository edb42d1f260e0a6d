"""What the Wan runners share: checks, denoising runs, frames in a stream, and what follows when a clip is longer than one run."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.acceleration import memory_guard, prepare, settle
from models.clip.continuation import Segment, in_segments
from models.clip.interpolation import retimed
from models.clip.quality import gated
from models.denoise import check_size, check_steps
from models.errors import BadRequest
from models.lora import LoraSlots, wear
from models.runner import Call, Frames
from models.task import Image, Task, TextToVideo
from models.wan.checkpoint import load
from models.wan.decode import decode
from models.wan.encode import encode
from models.wan.overlap import Kept
from models.wan.prompts import NEGATIVE_PROMPT, PROMPT_TOKENS
from models.weights import Loading

_REMEDY = "fewer frames or a smaller size"
SIDES = 16  # sides are multiples of this; where a model needs more, it makes a larger clip and the rest is cut away
OVERLAP = 9  # frames that a segment shares with the one before: three latent frames


class WanRunner:
    """A Wan pipeline. Roles: "base" (a diffusers folder); whether it has one expert or two is read from there.

    Subclasses name the diffusers class and the task, and say what the task adds to a prompt.
    flow_shift: how far the schedule leans towards high noise; None for the checkpoint's own.
    """

    pipeline: ClassVar[str]
    answers: ClassVar[type[TextToVideo]]

    def __init__(self, loading: Loading, slots: LoraSlots | None = None, *, flow_shift: float | None = None) -> None:
        self.slots = slots
        self.pipe: Any = prepare(load(self.pipeline, loading.files["base"], loading.device), loading.device, compiled=loading.compiled)
        if flow_shift is not None:
            scheduler = self.pipe.scheduler
            self.pipe.scheduler = type(scheduler).from_config(scheduler.config, flow_shift=flow_shift)
        if slots is not None:
            slots.open(self.pipe)

    def run(self, task: Task, call: Call) -> Iterator[Frames]:
        """Yield the clip of `task`, a few frames at a time, each as soon as it is decoded. Facts: "quality", "segments"."""
        mine = self._mine(task)
        self.check(mine)
        wear(self.slots, self.pipe, mine.loras)
        clip = self._clip(mine, call)
        if mine.seconds is not None:
            clip = retimed(clip, seconds=mine.seconds, fps=mine.shown_fps or mine.fps)
        return gated(clip, call, first=self.first_frame(mine), refuse=mine.quality_gate, preview=mine.preview)

    def conditions(self, task: Any) -> dict[str, Any]:
        """Arguments of the pipeline beside the prompt."""
        return {}

    def first_frame(self, task: Any) -> Image | None:
        """What the first frame should be, where the task says it."""
        return None

    def at_size(self, task: Any, width: int, height: int) -> Any:
        """The task for a clip of a size that the model can make, at least as large; what is added is cut away at the right and bottom."""
        return replace(task, width=width, height=height)

    def following(self, task: Any, tail: NDArray[np.uint8]) -> Any:
        """The task of a segment that begins with the frames `tail`."""
        return task

    @property
    def longest(self) -> int:
        """Frames that the model was trained to make at once."""
        return 121 if getattr(self.pipe.config, "expand_timesteps", False) else 81

    @property
    def fewest_steps(self) -> int:
        """Steps that the checkpoint needs; fewer are raised to it. The published ones make do with one.

        A schedule stretched to a last noise level has that and the first one fixed, and is undefined for a single step; the small
        trained checkpoint, the only one with such a schedule, plans the clip in between.
        """
        return 3 if self.pipe.scheduler.config.get("shift_terminal") else 1

    def check(self, task: Any) -> None:
        """Raise BadRequest for what the model cannot make, which the pipeline would round without a word."""
        check_size(task.width, task.height, SIDES)
        check_frames(task.num_frames, self.pipe.vae_scale_factor_temporal)
        check_steps(task.steps)

    def latent_frames(self, task: TextToVideo) -> int:
        """Latent frames of the clip itself; what a pipeline puts before them stands for references."""
        return (task.num_frames - 1) // self.pipe.vae_scale_factor_temporal + 1

    def close(self) -> None:
        """Drop the model."""
        del self.pipe

    def _mine(self, task: Task) -> TextToVideo:
        if type(task) is not self.answers:
            raise BadRequest(f"{type(self).__name__} answers {self.answers.__name__} tasks, not {type(task).__name__}")
        return task

    def _clip(self, task: TextToVideo, call: Call) -> Iterator[Frames]:
        """All frames as the model makes them, cut to size."""
        patch = self.pipe.transformer.config.patch_size
        unit = self.pipe.vae_scale_factor_spatial * max(patch[1], patch[2])
        sized = self.at_size(task, -(-task.width // unit) * unit, -(-task.height // unit) * unit)
        prompts: dict[str, Any] = {}

        def make(segment: Segment) -> Iterator[NDArray[np.uint8]]:
            call.check()
            if not prompts:
                with memory_guard(_REMEDY):
                    prompts.update(self._embed(task, call))
            part = replace(sized, num_frames=segment.frames, seed=task.seed + segment.index)
            part = part if segment.tail is None else self.following(part, segment.tail)
            return self._segment(part, prompts, segment, call)

        shown = 0
        for pixels in in_segments(make, task.num_frames, longest=self.longest, overlap=OVERLAP):
            times = (shown + np.arange(len(pixels))) / task.fps
            shown += len(pixels)
            call.step("decode", shown, task.num_frames)
            yield Frames(np.ascontiguousarray(pixels[:, : task.height, : task.width]), times)

    def _segment(self, task: TextToVideo, prompts: dict[str, Any], segment: Segment, call: Call) -> Iterator[NDArray[np.uint8]]:
        """Frames of one run of the model."""
        kept = None
        with memory_guard(_REMEDY):
            if segment.tail is not None:
                kept = Kept(encode(self.pipe.vae, segment.tail), task.seed, self.latent_frames(task))
            latents = self._denoise(task, prompts, segment, kept, call)
            began = time.perf_counter()
            for pixels in decode(self.pipe.vae, latents[:, :, -self.latent_frames(task) :]):
                call.spent("decode", time.perf_counter() - began)
                yield pixels
                began = time.perf_counter()  # the consumer's time is not ours

    def _denoise(self, task: TextToVideo, prompts: dict[str, Any], segment: Segment, kept: Kept | None, call: Call) -> Any:
        """Latents (1, C, T, h, w) of the clip. A cancel or a passed deadline raises within one step."""
        import torch

        def report(pipe: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            settle(timestep.device)
            steps = int(pipe.num_timesteps)
            call.step("denoise", segment.index * steps + step + 1, segment.count * steps)
            if kept is not None:
                values["latents"] = kept.put_into(values["latents"], float(pipe.scheduler.sigmas[step + 1]))
            return values

        began = time.perf_counter()
        try:
            latents = self.pipe(
                **prompts,
                **self.conditions(task),
                width=task.width,
                height=task.height,
                num_frames=task.num_frames,
                num_inference_steps=max(task.steps, self.fewest_steps),
                guidance_scale=task.guidance,
                generator=torch.Generator("cpu").manual_seed(task.seed),  # the same noise on every kind of card
                callback_on_step_end=report,
                output_type="latent",
            ).frames
        finally:
            self.pipe.maybe_free_model_hooks()  # an exception in the callback leaves cache hooks filled for the next run
        call.spent("denoise", time.perf_counter() - began)
        return latents

    def _embed(self, task: TextToVideo, call: Call) -> dict[str, Any]:
        """The prompts' embeddings, (1, 512, D) each; the negative one only where guidance needs it."""
        import torch

        began = time.perf_counter()
        with torch.no_grad():
            positive, negative = self.pipe.encode_prompt(
                task.prompt,
                NEGATIVE_PROMPT if task.negative_prompt is None else task.negative_prompt,
                do_classifier_free_guidance=task.guidance > 1,
                max_sequence_length=PROMPT_TOKENS,
            )
        call.spent("encode", time.perf_counter() - began)
        call.step("encode", 1, 1)
        return {"prompt_embeds": positive, "negative_prompt_embeds": negative}


def check_frames(count: int, per_latent: int) -> None:
    """Raise BadRequest, naming the nearest good number, unless `count` is a multiple of `per_latent` plus one."""
    if count < 1 or count % per_latent != 1:
        near = max(0, round((count - 1) / per_latent)) * per_latent + 1
        raise BadRequest(f"num_frames must be a multiple of {per_latent} plus 1, got {count}; the nearest is {near}")
