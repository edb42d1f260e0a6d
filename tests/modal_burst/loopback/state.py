"""What the stand-in knows: apps, functions and their variants, calls, inputs and containers."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from modal_proto import api_pb2
from modal_proto.api_pb2 import GenericResult

from tests.modal_burst.loopback import definitions

DEFAULT_SCALEDOWN_S = 60.0


class Signal:
    """Wakes all that wait for something to change."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def until(self, holds: Callable[[], object], timeout_s: float) -> bool:
        """Wait until `holds()` is true or the time is up; say which."""
        give_up = time.monotonic() + timeout_s
        while not holds():
            left = give_up - time.monotonic()
            if left <= 0:
                return False
            try:
                await asyncio.wait_for(self._event.wait(), left)
            except TimeoutError:
                return bool(holds())
        return True


@dataclass(eq=False)
class App:
    """A deployed app; `functions` and `classes` are what its last publication named."""

    id: str
    name: str
    version: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Function:
    """A function or the service function of a class, or a variant of one: an autoscaling pool of its own."""

    id: str
    app: App
    ranked: list[api_pb2.Function]
    base: "Function | None" = None
    params: bytes = b""
    overrides: api_pb2.AutoscalerSettings = field(default_factory=api_pb2.AutoscalerSettings)
    queue: "deque[Input]" = field(default_factory=deque)
    containers: "list[Container]" = field(default_factory=list)
    changed: Signal = field(default_factory=Signal)

    @property
    def definition(self) -> api_pb2.Function:
        """The definition, at its preferred card."""
        return self.ranked[0]

    @property
    def slots(self) -> int:
        """Inputs that one container runs at once."""
        return self.definition.max_concurrent_inputs or 1

    @property
    def settings(self) -> api_pb2.AutoscalerSettings:
        """The autoscaler's settings in force."""
        return definitions.settings(self.definition, self.overrides)

    @property
    def live(self) -> "list[Container]":
        return [container for container in self.containers if container.ended_at is None]

    def metadata(self) -> api_pb2.FunctionHandleMetadata:
        return definitions.metadata(self.definition, self.app.id, self.base.id if self.base else "")


@dataclass(eq=False)
class Call:
    """One call of a function. `chunks` is what a generator has yielded so far."""

    id: str
    function: Function
    invocation: "api_pb2.FunctionCallInvocationType.ValueType"
    inputs: "list[Input]" = field(default_factory=list)
    chunks: list[api_pb2.DataChunk] = field(default_factory=list)
    changed: Signal = field(default_factory=Signal)
    cancelled: bool = False
    at: float = field(default_factory=time.time)

    @property
    def done(self) -> bool:
        return all(item.output is not None for item in self.inputs)


@dataclass(eq=False)
class Input:
    """One set of arguments of a call, and how it ended."""

    id: str
    call: Call
    idx: int
    item: api_pb2.FunctionInput
    retry_count: int = 0
    container: "Container | None" = None
    started_at: float | None = None
    ended_at: float | None = None
    output: api_pb2.FunctionGetOutputsItem | None = None

    @property
    def jwt(self) -> str:
        return f"jwt-{self.id}"

    @property
    def seconds(self) -> float:
        """Time from its start in a container to its end."""
        return 0.0 if self.started_at is None else (self.ended_at or time.time()) - self.started_at


@dataclass(eq=False)
class Container:
    """One container's life. `cancelled` are inputs it has yet to be told about."""

    id: str
    function: Function
    card: str
    stop: Callable[[], None]
    started_at: float = field(default_factory=time.time)
    ready_at: float | None = None
    idle_since: float = field(default_factory=time.time)
    ended_at: float | None = None
    retired: bool = False
    inputs_taken: int = 0
    running: dict[str, Input] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    failure: GenericResult | None = None
    changed: Signal = field(default_factory=Signal)

    @property
    def seconds(self) -> float:
        """Billed time so far: start-up, work and idling."""
        return (self.ended_at or time.time()) - self.started_at


@dataclass
class State:
    """Everything, by id or by name."""

    folder: Path
    apps: dict[str, App] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)
    history: list[Input] = field(default_factory=list)  # every input ever, also those a crash made the server forget
    containers: dict[str, Container] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)  # mounted files by SHA-256
    mounts: dict[str, list[api_pb2.MountFile]] = field(default_factory=dict)
    images: dict[str, api_pb2.Image] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)  # id by name
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    snapshots: list[str] = field(default_factory=list)  # containers that asked to be saved
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def new_id(self, prefix: str) -> str:
        return f"{prefix}-{next(self._ids):06d}"

    def app_named(self, name: str) -> App | None:
        return next((app for app in self.apps.values() if app.name == name and app.version), None)

    def forget_calls(self) -> None:
        """What a control plane that lost its memory no longer knows."""
        for function in self.functions.values():
            function.queue.clear()
        self.calls.clear()
        self.inputs.clear()
