"""What runners of batching picture pipelines share: a run is a batch of one, and a batch holds tasks that may be denoised together."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from models.denoise import Outcome, only, outcomes
from models.errors import BadRequest, RylaError
from models.runner import Call, Frames
from models.task import Task, TextToImage


class PictureRunner(ABC):
    """A runner whose pipeline takes several prompts at once. A family says what may share a batch, and how a batch is made."""

    family: str

    def run(self, task: Task, call: Call) -> Iterator[Frames]:
        """Yield the one picture of `task`."""
        yield only(self.run_batch([task], [call]))

    def run_batch(self, tasks: Sequence[Task], calls: Sequence[Call]) -> list[Outcome]:
        """Run tasks with equal `batch_key` as one batch; each equals its single run.

        A call that was stopped, or whose own input is at fault, gets its error as its outcome, and the rest goes on without it.
        """
        mine = [self.mine(task) for task in tasks]
        if len({self.batch_key(task) for task in mine}) != 1:
            raise BadRequest("tasks of one batch must agree in all but prompts and seeds; group them by batch_key first")
        faults = [self._fault(task, call) for task, call in zip(mine, calls, strict=True)]
        sound = [index for index, fault in enumerate(faults) if fault is None]
        results: dict[int, Outcome] = {index: fault for index, fault in enumerate(faults) if fault is not None}
        if sound:
            kept = [calls[index] for index in sound]
            images = self.pictures([mine[index] for index in sound], kept)
            results |= dict(zip(sound, outcomes(images, kept), strict=True))
        return [results[index] for index in range(len(tasks))]

    def ready(self, task: Any, call: Call) -> None:  # noqa: B027 (most families have nothing to look at)
        """Look at what one item alone brings, before its batch runs. Raises what is wrong with it."""

    def _fault(self, task: TextToImage, call: Call) -> RylaError | None:
        try:
            self.ready(task, call)
        except RylaError as fault:
            return fault
        return None

    def mine(self, task: Task) -> TextToImage:
        """`task`, if it is of a kind this family does. Raises BadRequest."""
        if not isinstance(task, TextToImage):
            raise BadRequest(f"{self.family} makes pictures from text, not {type(task).__name__}")
        return task

    def batch_key(self, task: Task) -> Hashable:
        """What tasks must share to run in one batch; prompts and seeds may differ."""
        task = self.mine(task)
        return (task.width, task.height, task.steps, task.guidance, task.checkpoint, task.loras)

    @abstractmethod
    def pictures(self, tasks: Sequence[Any], calls: Sequence[Call]) -> Any:
        """Tensor (B, 3, H, W) in 0..1 of tasks with equal `batch_key`."""
