"""`Endpoint`: a path a client calls, as data."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from deployments.spec.fallback import ComfyWorkflow, FalModel
from deployments.spec.request import Request
from models.media import Encoding
from models.runner import Fact
from models.task import Task

Capability = Literal[
    "text-to-image", "image-to-image", "editing", "upscaling", "image-to-video", "text-to-video", "video-to-video", "face-swap", "lora"
]

InputType = Literal["text", "text+image", "text+image+mask", "image", "image+mask", "video", "text+video", "image+video"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One deployment's part of a call. affinity: tasks with the same one do well on the same replica; None when any is as good."""

    deployment: str
    task: Task
    affinity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a request asks for, ready to run anywhere.

    stages: one, or two or three for a chain: the frames of each flow into the next.
    encoding: how the last stage's frames are encoded, once.
    units: work of each stage, counted in the deployment's unit.
    facts: what is known before the run and goes into the reply's `X-` headers ("frames", "fps"…).
    """

    stages: tuple[Stage, ...]
    encoding: Encoding
    units: tuple[float, ...]
    facts: dict[str, Fact] = field(default_factory=dict[str, Fact])

    def __post_init__(self) -> None:
        """Refuse a plan whose parts do not match."""
        if not 1 <= len(self.stages) <= 3 or len(self.units) != len(self.stages):
            raise ValueError(f"a plan has one to three stages and a unit count for each, got {len(self.stages)} and {len(self.units)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A path a client calls.

    deployments: names of the one or two deployments every call needs, in order; none when `plan` chooses them itself.
    plan: request and seed → plan; decodes media with limits and may raise any `BadRequest`. Pure: no model is touched.
    input_type, output_type, capabilities, nsfw, lora: the registry's columns (`GET /models`).
    example: a smallest body for docs, tests and the CLI; media fields are left out.
    note: what a caller should know that the schema cannot say.
    fal, comfyui: what answers in its place when neither the cluster nor its mirror can, for SFW and for NSFW calls.
    always_nsfw: its calls are NSFW whatever they say of themselves.
    """

    path: str
    summary: str
    deployments: tuple[str, ...]
    request: type[Request]
    plan: Callable[[Any, int], Plan]
    output_type: Literal["image", "video"]
    input_type: InputType
    capabilities: tuple[Capability, ...]
    nsfw: bool = True
    lora: bool = False
    note: str = ""
    example: dict[str, Any] = field(default_factory=dict[str, Any])
    fal: FalModel | None = None
    comfyui: ComfyWorkflow | None = None
    always_nsfw: bool = False

    def __post_init__(self) -> None:
        """Refuse a malformed path, too many deployments, a request that lets unknown fields pass, or a fallback against the rules."""
        if not re.fullmatch(r"/[a-z0-9.-]+", self.path):
            raise ValueError(f"path must look like '/wan2.6-i2v', got {self.path!r}")
        if len(self.deployments) > 2:
            raise ValueError(f"{self.path}: two deployments at most, got {self.deployments}")
        if self.request.model_config.get("extra") != "forbid":
            raise ValueError(f"{self.path}: {self.request.__name__} must forbid unknown fields")
        if (self.fal or self.comfyui) and (len(self.deployments) != 1 or self.lora):
            raise ValueError(f"{self.path}: chains and LoRAs stay on the cluster and its mirror, so they have no fallback")
        if self.fal and self.always_nsfw:
            raise ValueError(f"{self.path}: NSFW calls never go to fal")

    @property
    def name(self) -> str:
        """The path without its slash: the endpoint's label in metrics, the CLI and the job table."""
        return self.path.removeprefix("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A path that is gone: 410 with the reason and the replacement.

    still: the endpoint that answers in its place while the operator serves retired paths (`RYLA_SERVE_RETIRED`); None for none.
    """

    path: str
    reason: str
    replacement: str
    still: Endpoint | None = None

    def __post_init__(self) -> None:
        """Refuse a stand-in on another path."""
        if self.still is not None and self.still.path != self.path:
            raise ValueError(f"{self.path}: what still answers must have its path, got {self.still.path}")
