"""The `comfyui` backend: the legacy ComfyUI pod, by its HTTP API, with progress over its websocket. NSFW work alone.

Every wait is bounded, and the websocket may be lost: the pod's history is asked too. A call is charged the seconds that the pod worked on
it. The pod keeps nothing of it: pictures go to and from its temporary folder, and its history entry is deleted.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np

from deployments.spec.endpoint import Plan
from deployments.spec.fallback import ComfyWorkflow
from deployments.spec.inputs import PICTURE_LIMITS
from models.errors import BackendFailed, BadMedia, DeadlineExceeded, FaultKind, TooLarge
from models.host import Event, Result
from models.media import content_type, encode, read_image
from models.runner import Card, Finished, Frames, Progress
from serve.comfyui_line import Line, Message, Pod
from serve.fallbacks import COMFYUI, Tally, Work

log = logging.getLogger("ryla.burst")

LOOK_S: Final = 1.0  # how long nothing may be heard until the history is asked
BEGUN: Final = ("execution_start", "execution_cached", "executing", "progress", "progress_state")
ENDED: Final = ("execution_success", "execution_error", "execution_interrupted")


@dataclass(slots=True)
class _Run:
    """One prompt on the pod. begun, ended: when it was first heard of at work, and when it was over, on the steady clock."""

    id: str
    queued: float = field(default_factory=time.monotonic)
    begun: float | None = None
    ended: float | None = None

    def end(self) -> None:
        """The pod is done with it. One that was never heard of at work is taken to have begun when it was queued."""
        self.ended = self.ended or time.monotonic()
        self.begun = self.begun or self.queued

    def busy_s(self) -> float:
        """Seconds of work so far."""
        return 0.0 if self.begun is None else (self.ended or time.monotonic()) - self.begun


class ComfyBackend:
    """Calls the pod. rate: USD a second of its card; longest_s: what a call is given."""

    def __init__(self, pod: Pod, card: str, rate: float, *, longest_s: float, silence_s: float) -> None:
        self._pod = pod
        self._card = Card(card)
        self._rate = rate
        self._longest_s = longest_s
        self._silence_s = silence_s

    def work(self, plan: Plan, what: ComfyWorkflow) -> Work:
        """What the plan's one task would be there. It is stopped before it has cost more than this."""
        return Work(COMFYUI, f"{COMFYUI} {what.kind}", what.expected_s, self._longest_s * self._rate, what)

    async def run(self, plan: Plan, work: Work, *, deadline: float, tally: Tally) -> AsyncGenerator[Event, None]:
        """Run the plan's one task."""
        workflow, task, client = cast(ComfyWorkflow, work.what), plan.stages[0].task, uuid.uuid4().hex
        async with self._pod.line(client, deadline) as line:
            names = [await line.upload(picture, f"{client}-{index}.png") for index, picture in enumerate(workflow.pictures(task))]
            run = _Run(await line.queue(await asyncio.to_thread(workflow.graph, task, names), client))
            try:
                async with aclosing(self._signs(line, run, deadline)) as signs:
                    async for progress in signs:
                        yield progress
                entry = await self._entry(line, run, deadline)
            finally:
                tally.usd = min(work.usd, run.busy_s() * self._rate)
                await asyncio.shield(asyncio.create_task(line.let_go(run.id, over=run.ended is not None)))
            data = await line.view(_picture(entry))
        try:
            media = await asyncio.to_thread(_encoded, data, plan)
        except (BadMedia, TooLarge) as error:
            raise BackendFailed(f"the pod's picture cannot be used: {error.message}", None, FaultKind.INFRA) from error
        busy_s = run.busy_s()
        finished = Finished({"model": f"{COMFYUI} {workflow.kind}"}, busy_s, {COMFYUI: busy_s}, self._card)
        yield Result(media, content_type(plan.encoding.format), (finished,))

    async def _signs(self, line: Line, run: _Run, deadline: float) -> AsyncGenerator[Progress, None]:
        """Progress, until the pod is done. Raises what it ended with, if that is told over the websocket."""
        heard = time.monotonic()
        while run.ended is None:
            left_s = deadline - time.time()
            if left_s <= 0:
                raise DeadlineExceeded("the deadline passed while the pod was working; ask for less work or a later deadline")
            message = await line.hear(min(LOOK_S, left_s))
            if message is not None:
                heard = time.monotonic()
                if (progress := _understood(message, run)) is not None:
                    yield progress
                continue
            try:
                if await line.history(run.id) is not None:
                    run.end()
                heard = time.monotonic()
            except BackendFailed as error:
                if error.kind is not FaultKind.INFRA or time.monotonic() - heard > self._silence_s:
                    raise

    async def _entry(self, line: Line, run: _Run, deadline: float) -> Mapping[str, Any]:
        """The entry in the pod's history, which it writes a moment after it has told of the end. Raises what the run ended with."""
        while (entry := await line.history(run.id)) is None:
            if time.time() > deadline:
                raise DeadlineExceeded("the deadline passed while the pod was finishing; ask for less work or a later deadline")
            await asyncio.sleep(0.1)
        match entry:
            case {"status": {"status_str": "error", "messages": list() as messages}}:
                told = [Message(str(m[0]), m[1]) for m in cast(list[Any], messages) if isinstance(m, list | tuple) and len(m) == 2]
                raise next((_failed(message) for message in told if message.kind in ENDED[1:]), _failed(Message("", {})))
            case _:
                return entry


def _understood(message: Message, run: _Run) -> Progress | None:
    """What a message tells of this run. Raises what it ended with."""
    if message.data.get("prompt_id") != run.id:
        return None
    if message.kind in BEGUN and run.begun is None:
        run.begun = time.monotonic()
    if message.kind in ENDED or (message.kind == "executing" and message.data.get("node") is None):
        run.end()
    if message.kind in ENDED[1:]:
        raise _failed(message)
    match message:
        case Message("progress", {"value": int(done), "max": int(total)}):
            return Progress("denoise", done, total)
        case Message("execution_start", _):
            return Progress(COMFYUI, 0, 1)
        case _:
            return None


def _failed(message: Message) -> BackendFailed:
    """Why a run failed, without the pod's own text, which may quote the prompt."""
    if message.kind == "execution_interrupted":
        return BackendFailed("somebody interrupted the call on the pod", None, FaultKind.INFRA)
    kind = str(message.data.get("exception_type", "")).rpartition(".")[2]
    node = str(message.data.get("node_type", ""))[:60]
    if "OutOfMemory" in kind:
        return BackendFailed("the pod's card ran out of memory", None, FaultKind.INFRA)
    return BackendFailed(f"the pod's graph failed ({kind or 'unknown'} in {node or 'some node'})", None, FaultKind.MODEL)


def _picture(entry: Mapping[str, Any]) -> Mapping[str, str]:
    """Where the picture lies: file name, subfolder and kind of folder."""
    outputs = entry.get("outputs")
    for node in cast(Mapping[str, Any], outputs).values() if isinstance(outputs, dict) else ():
        match node:
            case {"images": [{"filename": str(name), "subfolder": str(folder), "type": str(kind)}, *_]}:
                return {"filename": name, "subfolder": folder, "type": kind}
            case _:
                continue
    raise BackendFailed("the pod's graph ended without a picture", None, FaultKind.CONFIG)


def _encoded(data: bytes, plan: Plan) -> bytes:
    pixels = read_image(data, "the result", PICTURE_LIMITS)
    return encode(iter([Frames(pixels[None], np.zeros(1))]), plan.encoding)
