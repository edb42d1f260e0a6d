"""`Deployment`: a model placed on GPUs, as data."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from models.lora import LoraSlots
from models.runner import Runner
from models.weights import Checkpoint, Loading

Accelerator = Literal["L40S", "A100-80GB"]

CARD_GB: Mapping[Accelerator, float] = {"L40S": 48.0, "A100-80GB": 80.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """What a replica needs of a card.

    vram_gb: peak memory of one replica, resident weights and activations, in GB (1e9 bytes).
    share: fraction of a card by kind of card, in order of preference; each in (0, 1].
    """

    vram_gb: float
    share: Mapping[Accelerator, float]

    def __post_init__(self) -> None:
        """Refuse a share outside (0, 1], or one smaller than the memory it must hold."""
        if not self.share:
            raise ValueError("gpu.share names no card")
        for card, share in self.share.items():
            if not 0 < share <= 1:
                raise ValueError(f"gpu.share on {card} must be in (0, 1], got {share}")
            if self.vram_gb > CARD_GB[card] * share:
                raise ValueError(
                    f"{share} of a {card} is {CARD_GB[card] * share:.1f} GB, less than the {self.vram_gb} GB a replica peaks at"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """How many replicas, and when to add one.

    target_wait_s: add replicas until the predicted wait for the last call in the queue is below this.
    longest_s: the longest job; a replica that shuts down is given this long to finish.
    kept_on_laptop: where there is no GPU, keep one replica up from the start; otherwise the first call starts it, and idleness ends it.
    """

    min: int = 1
    max: int = 4
    target_wait_s: float = 10.0
    longest_s: float = 120.0
    kept_on_laptop: bool = False

    def __post_init__(self) -> None:
        """Refuse bounds that cross."""
        if not 0 <= self.min <= self.max or self.max < 1:
            raise ValueError(f"replicas need 0 <= min <= max and max >= 1, got {self.min}..{self.max}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """The Modal mirror of a deployment: its card there, and the expected seconds of a cold start."""

    gpu: str
    cold_start_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model placed on GPUs.

    name: kebab-case; also the Serve deployment's name and the label in metrics.
    model: what really runs, for `X-Model`.
    runner: builds the runner from its weights; the class itself.
    weights: checkpoints by the role the runner knows them by.
    concurrency: tasks a replica runs at once; 1 for anything that fills a GPU.
    batch: most tasks of one batch, for a runner that is a BatchRunner; 1 when its pipeline cannot batch.
    lora_slots: adapters a replica holds in GPU memory; 0 when the model takes none.
    lora_rank: most that the ranks of the LoRAs of one task may add up to.
    spare_checkpoints: checkpoints a replica keeps beside its base; 0 when it has but one.
    seconds_per_unit: expected GPU seconds for one unit of work, which the endpoint counts; a prior that measurement replaces.
    """

    name: str
    model: str
    summary: str
    runner: Callable[..., Runner]
    weights: Mapping[str, Checkpoint] = field(default_factory=dict[str, Checkpoint])
    gpu: Gpu
    replicas: Replicas = field(default_factory=Replicas)
    concurrency: int = 1
    batch: int = 1
    lora_slots: int = 0
    lora_rank: int = 128
    spare_checkpoints: int = 0
    seconds_per_unit: float = 1.0
    burst: Burst | None = None

    def __post_init__(self) -> None:
        """Refuse a name that is no label, and nonsense numbers."""
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.name):
            raise ValueError(f"deployment name must be kebab-case, got {self.name!r}")
        if self.concurrency < 1 or self.batch < 1 or self.lora_slots < 0 or self.seconds_per_unit <= 0:
            raise ValueError(f"{self.name}: concurrency >= 1, batch >= 1, lora_slots >= 0 and seconds_per_unit > 0 are needed")

    @property
    def family(self) -> str:
        """The family of models it belongs to, kebab-case: the part of `models/` its runner lives in. One Serve app holds a family."""
        runner = self.runner.func if isinstance(self.runner, partial) else self.runner
        return runner.__module__.split(".")[1].replace("_", "-")

    def load(self, loading: Loading, slots: LoraSlots | None = None) -> Runner:
        """The loaded runner; `slots` for a model that takes LoRAs."""
        return self.runner(loading) if slots is None else self.runner(loading, slots)
