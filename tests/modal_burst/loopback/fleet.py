"""Containers come and go with the work. Its speed and its crash policy are this stand-in's own, not the platform's."""

import time
from collections.abc import Callable
from typing import Literal

from modal_proto import api_pb2
from modal_proto.api_pb2 import GenericResult

from tests.modal_burst.loopback.state import DEFAULT_SCALEDOWN_S, Call, Container, Function, Input, State

DEFAULT_MAX_CONTAINERS = 8
POLL_S = 20.0  # how long a container's question for work stays open


class Fleet:
    """The containers of all functions, and the inputs that wait for them."""

    def __init__(self, state: State, launch: "Callable[[Function, Fleet], Container]") -> None:
        self._state = state
        self._launch = launch
        self.scaledown_s: float | None = None  # overrides every function's window, to keep tests short
        self.closed = False

    def submit(self, item: Input) -> None:
        """Queue an input, and start a container if no slot is free for it."""
        function = item.call.function
        function.queue.append(item)
        self.scale(function)
        function.changed.fire()

    def scale(self, function: Function) -> None:
        """Start containers until every queued input has a slot, within the limits."""
        settings = function.settings
        most = settings.max_containers or DEFAULT_MAX_CONTAINERS
        while not self.closed and len(function.live) < most:
            usable = [container for container in function.live if not container.retired]
            free = sum(function.slots - len(container.running) for container in usable)
            buffer = settings.buffer_containers if function.queue or any(c.running for c in usable) else 0
            if len(function.queue) + buffer * function.slots <= free and len(usable) >= settings.min_containers:
                return
            container = self._launch(function, self)
            function.containers.append(container)
            self._state.containers[container.id] = container

    async def take(self, container: Container) -> Input | Literal["retire"] | None:
        """The next input for a container that has a free slot; "retire" when it should go, None when it should ask again."""
        function = container.function
        container.ready_at = container.ready_at or time.time()
        give_up = time.monotonic() + POLL_S
        while time.monotonic() < give_up:
            if self._should_go(container):
                container.retired = True
                return "retire"
            if function.queue:
                return self._hand_over(function.queue.popleft(), container)
            left = self._window(function) - (time.time() - container.idle_since)
            wait = min(give_up - time.monotonic(), left if left > 0 else POLL_S)
            await function.changed.until(lambda: function.queue or self._should_go(container), max(wait, 0.0))
        return None

    def _hand_over(self, item: Input, container: Container) -> Input:
        item.container, item.started_at = container, time.time()
        container.running[item.id] = item
        container.inputs_taken += 1
        return item

    def _should_go(self, container: Container) -> bool:
        if container.retired or container.ended_at is not None:
            return True
        idle = (
            not container.running
            and not container.function.queue
            and time.time() - container.idle_since >= self._window(container.function)
        )
        return idle and len(container.function.live) > container.function.settings.min_containers

    def _window(self, function: Function) -> float:
        return self.scaledown_s if self.scaledown_s is not None else function.settings.scaledown_window or DEFAULT_SCALEDOWN_S

    def finish(
        self, item: Input, result: GenericResult, data_format: "api_pb2.DataFormat.ValueType" = api_pb2.DATA_FORMAT_UNSPECIFIED
    ) -> None:
        """Record how an input ended. A second ending of the same input is ignored."""
        if item.output is not None:
            return
        item.ended_at = time.time()
        item.output = api_pb2.FunctionGetOutputsItem(
            result=result, idx=item.idx, input_id=item.id, data_format=data_format, retry_count=item.retry_count
        )
        if item.container is not None:
            item.container.running.pop(item.id, None)
            item.container.idle_since = time.time()
        item.call.changed.fire()
        item.call.function.changed.fire()

    def cancel(self, call: Call, *, terminate: bool) -> None:
        """Stop a call: inputs that wait end at once, running ones when their container has stopped them."""
        call.cancelled = True
        for item in call.inputs:
            if item.output is not None:
                continue
            if item.container is None:
                call.function.queue.remove(item)
                self.finish(item, GenericResult(status=GenericResult.GENERIC_STATUS_TERMINATED, exception="cancelled before it ran"))
            elif terminate:
                item.container.stop()
            else:
                item.container.cancelled.append(item.id)
                item.container.changed.fire()

    def lost(self, container: Container, how: str) -> None:
        """A container is gone: what it ran has failed, and what waited too if it never came up."""
        container.ended_at = time.time()
        failure = container.failure or GenericResult(
            status=GenericResult.GENERIC_STATUS_INTERNAL_FAILURE, exception=f"{container.id} {how}"
        )
        for item in list(container.running.values()):
            self.finish(item, failure)
        function = container.function
        if container.ready_at is None and not container.retired and not function.live:
            while function.queue:
                self.finish(function.queue.popleft(), failure)
        container.changed.fire()
        function.changed.fire()
        self.scale(function)

    def retire(self, function: Function) -> None:
        """Let every container of a function go once it is idle."""
        for container in function.live:
            container.retired = True
        function.changed.fire()
