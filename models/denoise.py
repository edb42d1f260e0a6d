"""One run of a diffusers picture pipeline, alone or as a batch: seeds, progress, cancelling and cleaning up, the same for every family."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from models.acceleration import memory_guard, settle
from models.errors import BadRequest, Cancelled, DeadlineExceeded, RylaError
from models.runner import Call, Frames
from models.task import TextToImage

Outcome: TypeAlias = Frames | RylaError  # of one item of a batch: its picture, or why it alone has none
StepHook: TypeAlias = Callable[[int], None]  # called with the number of finished steps


def check_size(width: int, height: int, multiple: int) -> None:
    """Raise BadRequest, naming the nearest good size, unless both sides are positive multiples of `multiple`."""
    if width < multiple or height < multiple or width % multiple or height % multiple:
        near = [max(multiple, (side + multiple // 2) // multiple * multiple) for side in (width, height)]
        raise BadRequest(f"width and height must be multiples of {multiple}, got {width}x{height}; the nearest size is {near[0]}x{near[1]}")


def check_steps(steps: int, most: int = 150) -> None:
    """Raise BadRequest unless `steps` lies in 1..most."""
    if not 1 <= steps <= most:
        raise BadRequest(f"steps must be 1 to {most}, got {steps}")


def generators(tasks: Sequence[TextToImage]) -> list[Any]:
    """A CPU generator an item: its noise depends on its own seed alone, and not on the kind of card."""
    import torch

    return [torch.Generator("cpu").manual_seed(task.seed) for task in tasks]


def as_frames(images: Any) -> list[Frames]:
    """Tensor (B, 3, H, W) in 0..1 to one single-frame clip an item. Rounded on the device, so that a quarter of the bytes travels."""
    import torch

    pixels = images.float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Frames(picture[None], np.zeros(1)) for picture in pixels]


class Watch:
    """Step callback of a pipeline that serves one or more calls: reports each step, and stops when every call has to stop."""

    def __init__(self, calls: Sequence[Call], on_step: StepHook | None = None) -> None:
        self.calls = calls
        self.on_step = on_step
        self.stopped: dict[int, Cancelled | DeadlineExceeded] = {}
        self.finished_at: float | None = None
        self._each(lambda call: call.check())

    def __call__(self, pipe: Any, step: int, timestep: Any, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """What diffusers calls after each step; it wants its values back."""
        settle(timestep.device)
        done, total = step + 1, int(pipe.num_timesteps)
        self._each(lambda call: call.step("denoise", done, total))
        if self.on_step is not None:
            self.on_step(done)
        if done == total:
            self.finished_at = time.perf_counter()
        return values

    def _each(self, act: Callable[[Call], None]) -> None:
        """Do `act` for the calls that still run; raise once none is left."""
        for index, call in enumerate(self.calls):
            if index in self.stopped:
                continue
            try:
                act(call)
            except (Cancelled, DeadlineExceeded) as stop:
                self.stopped[index] = stop
        if len(self.stopped) == len(self.calls):
            raise next(iter(self.stopped.values()))


def render(pipe: Any, tasks: Sequence[TextToImage], calls: Sequence[Call], *, on_step: StepHook | None = None, **arguments: Any) -> Any:
    """Run `pipe` once for all tasks and return its pictures, a tensor (B, 3, H, W) in 0..1.

    Raises Cancelled or DeadlineExceeded when all calls must stop, at the latest one step later, and OutOfMemory. Whatever happens,
    the pipeline is left clean: an exception in the callback would otherwise leave its cache hooks filled for the next run.
    """
    watch = Watch(calls, on_step)
    began = time.perf_counter()
    try:
        with memory_guard("a smaller picture"):
            images = pipe(generator=generators(tasks), callback_on_step_end=watch, output_type="pt", **arguments).images
    finally:
        pipe.maybe_free_model_hooks()
    settle(images.device)
    denoised = watch.finished_at or time.perf_counter()
    for call in calls:
        call.spent("denoise", denoised - began)
        call.spent("decode", time.perf_counter() - denoised)
    return images


def outcomes(images: Any, calls: Sequence[Call]) -> list[Outcome]:
    """Pictures of a batch, except for the calls that were stopped meanwhile."""
    results: list[Outcome] = []
    for call, frames in zip(calls, as_frames(images), strict=True):
        try:
            call.check()
            results.append(frames)
        except (Cancelled, DeadlineExceeded) as stop:
            results.append(stop)
    return results


def only(results: Sequence[Outcome]) -> Frames:
    """The picture of a batch of one, or its error raised."""
    (result,) = results
    if isinstance(result, RylaError):
        raise result
    return result


Dtype: TypeAlias = Literal["float32", "bfloat16", "float16"]


def dtype_on(device: str, accelerated: Dtype) -> Any:
    """The torch dtype to load with: `accelerated` on a card, float32 on the CPU."""
    import torch

    return getattr(torch, accelerated if device.startswith("cuda") else "float32")
