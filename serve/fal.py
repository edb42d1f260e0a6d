"""The `fal` backend: hosted models, through the vendor's own client and its queue. SFW work alone; its safety checker stays on.

Every wait is bounded. A call is charged its list price once a picture was made, or may have been; what fal refuses or fails costs nothing.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import numpy as np

from deployments.spec.endpoint import Plan
from deployments.spec.fallback import Arguments, FalModel, without_body_words
from deployments.spec.inputs import PICTURE_LIMITS
from modal_burst.faults import kind_of
from modal_burst.waits import within
from models.errors import BackendFailed, BadMedia, DeadlineExceeded, FaultKind, Refused, RylaError, TooLarge
from models.host import Event, Result
from models.media import content_type, encode, read_image
from models.runner import Card, Fact, Finished, Frames, Progress
from serve.fal_faults import REFUSED, translated, unknown_form, was_answered, was_not_sent
from serve.fallbacks import FAL, Tally, Work
from serve.fetch import Fetcher

if TYPE_CHECKING:
    from fal_client import AsyncClient, AsyncRequestHandle, Status

log = logging.getLogger("ryla.burst")

CARD: Final = Card(FAL, 0.0)  # its cards are not ours to count
PICTURES: Final = ("image/png", "image/jpeg", "image/webp")
FIRST_LOOK_S: Final = 0.2
LONGEST_LOOK_S: Final = 1.0
LEAST_START_S: Final = 1.5  # its queue takes no shorter deadline
# What it keeps: nothing of what was sent, and for an hour at most what came of it.
HEADERS: Final = {"X-Fal-Store-IO": "0", "X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds": 3600}'}
T = TypeVar("T")


class FalBackend:
    """Calls fal. request_s: the longest that one request may take; silence_s: that none may be answered while a call is out."""

    def __init__(self, key: str, fetcher: Fetcher, *, request_s: float, silence_s: float) -> None:
        self._key = key
        self._fetcher = fetcher
        self._request_s = request_s
        self._silence_s = silence_s
        self._client: AsyncClient | None = None

    def work(self, plan: Plan, what: FalModel) -> Work:
        """What the plan's one task would be there."""
        return Work(FAL, f"{FAL} {what.id}", what.expected_s, what.usd(plan.stages[0].task), what)

    async def run(self, plan: Plan, work: Work, *, deadline: float, tally: Tally) -> AsyncGenerator[Event, None]:
        """Run the plan's one task. Input that a strict model refuses is sent once more, without words for parts of the body."""
        model = cast(FalModel, work.what)
        first = await asyncio.to_thread(model.arguments, plan.stages[0].task)
        milder = without_body_words(first) if model.strict else first
        tries = [first, milder] if milder != first and milder["prompt"] else [first]
        for arguments in tries:
            try:
                async with aclosing(self._once(plan, model, arguments, deadline, tally)) as events:
                    async for event in events:
                        yield event
                return
            except (Refused, BackendFailed) as error:
                if arguments is tries[-1] or kind_of(error) is not FaultKind.MODEL or tally.usd > 0:
                    raise
                log.info("%s refused a call; it is sent once more in milder words", model.id)

    async def _once(self, plan: Plan, model: FalModel, arguments: Arguments, deadline: float, tally: Tally) -> AsyncGenerator[Event, None]:
        began = time.monotonic()
        tally.usd = model.usd(plan.stages[0].task)  # until it is known that nothing was made
        handle = await self._submit(model, arguments, deadline, tally)
        waiting, over = True, False
        try:
            async with aclosing(self._statuses(handle, deadline)) as statuses:
                async for status in statuses:
                    if waiting and not _is_queued(status):
                        waiting = False
                        yield Progress(FAL, 0, 1)
            over = True
        finally:
            if not over and await self._hang_up(handle) and waiting:
                tally.usd = 0.0
        try:
            answer = await self._bounded(handle.get(), deadline)
        except RylaError as error:
            tally.usd = 0.0 if was_answered(error) else tally.usd
            raise
        media = await self._download(_link(answer), plan, deadline)
        seconds = time.monotonic() - began
        finished = Finished(_facts(model, arguments), seconds, {FAL: seconds}, CARD, usd=tally.usd)
        yield Result(media, content_type(plan.encoding.format), (finished,))

    async def _submit(self, model: FalModel, arguments: Arguments, deadline: float, tally: Tally) -> "AsyncRequestHandle":
        client = self._connected()
        start_s = max(LEAST_START_S, deadline - time.time())
        try:
            sent = await self._bounded(client.submit(model.id, arguments, headers=HEADERS, start_timeout=start_s), deadline)
        except RylaError as error:
            tally.usd = 0.0 if was_answered(error) or was_not_sent(error) else tally.usd
            raise
        # By its id, at the host that we know, and not at whatever address the answer names: requests carry our key.
        return await client.get_handle(model.id, sent.request_id)

    async def _statuses(self, handle: "AsyncRequestHandle", deadline: float) -> "AsyncGenerator[Status, None]":
        """Ask until the call is over. Single questions may go unanswered, for as long as `silence_s`."""
        from fal_client import Completed

        heard, pause_s = time.monotonic(), FIRST_LOOK_S
        while True:
            try:
                status = await self._bounded(handle.status(), deadline)
            except BackendFailed as error:
                lasting = error.kind not in (FaultKind.INFRA, FaultKind.THROTTLED)
                if lasting or time.monotonic() - heard > self._silence_s:
                    raise
            else:
                heard = time.monotonic()
                yield status
                if isinstance(status, Completed):
                    return
            await asyncio.sleep(min(pause_s, max(0.0, deadline - time.time())))
            pause_s = min(1.3 * pause_s, LONGEST_LOOK_S)

    async def _download(self, link: str, plan: Plan, deadline: float) -> bytes:
        """The picture, decoded within limits and encoded as the caller was promised."""
        try:
            fetched = await self._bounded(
                self._fetcher.fetch(link, "the result", kinds=PICTURES, limits=PICTURE_LIMITS), deadline, seconds=60.0
            )
            return await asyncio.to_thread(_encoded, fetched.data, plan)
        except (BadMedia, TooLarge) as error:
            raise BackendFailed(f"fal's picture cannot be used: {error.message}", None, FaultKind.INFRA) from error

    async def _hang_up(self, handle: "AsyncRequestHandle") -> bool:
        """Cancel the call, also when whoever waited for it is being cancelled; say whether fal agreed."""

        async def cancel() -> bool:
            try:
                await within(self._request_s, handle.cancel())
            except Exception as error:
                log.info("a call could not be cancelled at fal (%s)", type(error).__name__)
                return False
            return True

        return await asyncio.shield(asyncio.create_task(cancel()))

    async def _bounded(self, work: Awaitable[T], deadline: float, *, seconds: float | None = None) -> T:
        """`work` within the time of one request; its error as one of ours."""
        left_s = deadline - time.time()
        try:
            return await within(min(seconds or self._request_s, left_s), work)
        except Exception as error:
            if time.time() >= deadline:
                raise DeadlineExceeded("the deadline passed while fal was working; ask for less work or a later deadline") from error
            raise translated(error) from error

    def _connected(self) -> "AsyncClient":
        if self._client is None:
            import fal_client.client

            # A request that was maybe heard is not sent again: it would be made, and paid, twice. The bounds here are of one try each.
            fal_client.client.MAX_ATTEMPTS = 1
            self._client = fal_client.client.AsyncClient(key=self._key, default_timeout=self._request_s)
        return self._client


def _is_queued(status: "Status") -> bool:
    from fal_client import Queued

    return isinstance(status, Queued)


def _link(answer: Any) -> str:
    """Where the picture lies. Raises Refused when the safety checker has blacked it out."""
    match answer:
        case {"has_nsfw_concepts": list() as found} if any(cast(list[object], found)):
            raise Refused(REFUSED)
        case {"images": [{"url": str(link)}, *_]} | {"image": {"url": str(link)}}:
            return link
        case _:
            raise unknown_form()


def _facts(model: FalModel, arguments: Arguments) -> dict[str, Fact]:
    """What was really used, where that differs from what the plan says."""
    steps: dict[str, Fact] = {"steps": int(arguments["num_inference_steps"])} if "num_inference_steps" in arguments else {}
    return {"model": model.id, "seed": int(arguments["seed"])} | steps


def _encoded(data: bytes, plan: Plan) -> bytes:
    pixels = read_image(data, "the result", PICTURE_LIMITS)
    return encode(iter([Frames(pixels[None], np.zeros(1))]), plan.encoding)
