"""The protocol of a runner, and what passes between a runner and whoever hosts it."""

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.errors import Cancelled, DeadlineExceeded, RylaError
from models.task import Task

Fact: TypeAlias = str | int | float | bool
Profile: TypeAlias = Literal["tiny", "full"]


@dataclass(frozen=True, slots=True)
class Frames:
    """Some consecutive frames of a clip; a picture is a clip of one frame.

    pixels: uint8 (T, H, W, 3), RGB, T >= 1.
    times_s: float64 (T,), when each frame is shown, in seconds from the start of the clip, rising.
    """

    pixels: NDArray[np.uint8]
    times_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Progress:
    """One sign of progress: `done` of `total` units of a stage ("denoise", "decode", "swap"…). picture: a JPEG of how it looks so far."""

    stage: str
    done: int
    total: int
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What a replica runs on: the card's name as the rate table knows it ("L40S", "A100-80GB", "CPU"), and its share of it."""

    name: str
    share: float = 1.0


CPU = Card("CPU")


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run learned; the last item of a stream of frames.

    busy_s: seconds the replica worked on this call, waiting for others left out; times the card's rate it is the cost.
    seconds: time by stage ("denoise", "decode", "swap"…).
    steps: how many steps a stage took, for the stages that report them.
    before: those of the runs that this one's frames came from, first to last.
    usd: the price, where work is paid by the piece; None where it is paid by the card's time.
    """

    facts: dict[str, Fact] = field(default_factory=dict[str, Fact])
    busy_s: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    card: Card = CPU
    steps: dict[str, int] = field(default_factory=dict[str, int])
    usd: float | None = None
    before: "tuple[Finished, ...]" = ()

    def chain(self) -> "tuple[Finished, ...]":
        """The runs before this one, and this one."""
        return (*self.before, replace(self, before=()))


FrameEvent: TypeAlias = Progress | Frames | Finished


@dataclass(slots=True)
class Call:
    """One run of a task, seen from the runner: where it reports, and where it learns that it must stop.

    deadline: on `time.time()`'s clock, so that it means the same on every node; None for no deadline.
    facts: what the runner wants to say about the result ("faces_swapped"), small and printable.
    seconds: time spent a stage, filled by `spent`.
    steps: how many steps a stage takes, filled by `step`.
    """

    deadline: float | None = None
    on_progress: Callable[[Progress], None] | None = None
    facts: dict[str, Fact] = field(default_factory=dict[str, Fact])
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    steps: dict[str, int] = field(default_factory=dict[str, int])
    _stop: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Ask the run to stop at its next check. Safe from any thread, any number of times."""
        self._stop.set()

    def check(self) -> None:
        """Raise `Cancelled` or `DeadlineExceeded` if the run must stop; called at least once a denoising step."""
        if self._stop.is_set():
            raise Cancelled("the call was cancelled")
        if self.deadline is not None and time.time() > self.deadline:
            raise DeadlineExceeded("the deadline passed while the model was running; ask for less work or a later deadline")

    def step(self, stage: str, done: int, total: int) -> None:
        """Report progress, then check."""
        self.steps[stage] = max(total, self.steps.get(stage, 0))
        if self.on_progress is not None:
            self.on_progress(Progress(stage, done, total))
        self.check()

    def show(self, picture: bytes) -> None:
        """Report how the result looks so far, a JPEG."""
        if self.on_progress is not None:
            self.on_progress(Progress("preview", 1, 1, picture))

    def spent(self, stage: str, seconds: float) -> None:
        """Add `seconds` to a stage's time."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


class Runner(Protocol):
    """A loaded model. Built once a replica; `run` is called for one task at a time unless the deployment says otherwise."""

    def run(self, task: Task, call: Call) -> Iterator[Frames]:
        """Do the task, yielding frames in order as they are ready. Raises from `models.errors` only."""
        ...

    def close(self) -> None:
        """Free memory and files. The runner is not used again."""
        ...


@runtime_checkable
class FrameRunner(Runner, Protocol):
    """A runner that can also work on frames made by another: the second half of a chain."""

    def transform(self, task: Task, frames: Iterator[Frames], call: Call) -> Iterator[Frames]:
        """Do the task on `frames` as they arrive, holding back no more than a few of them."""
        ...


@runtime_checkable
class BatchRunner(Runner, Protocol):
    """A runner that can work on several tasks of one picture at once; each item equals its single run."""

    def batch_key(self, task: Task) -> Hashable:
        """What tasks must share to run in one batch. Raises BadRequest for a task that the runner does not do."""
        ...

    def run_batch(self, tasks: Sequence[Task], calls: Sequence[Call]) -> Sequence[Frames | RylaError]:
        """Run tasks with equal `batch_key`; a call that was stopped meanwhile gets its error as its outcome."""
        ...


@runtime_checkable
class CheckpointRunner(Runner, Protocol):
    """A runner with several checkpoints, some of them loaded."""

    def resident(self) -> Sequence[str]:
        """Checkpoints that a task need not wait for, by the names tasks call them; the base left out. Safe from any thread."""
        ...
