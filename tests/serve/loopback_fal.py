"""A stand-in for fal's queue on the loopback, for its unmodified client: submit, status, result, cancel, and the files of its store.

It bills as fal says it does: what was made, and what was being made when it was cancelled; never what it refused or failed.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web

from models.media import write_image

KEY = "fal-key-of-the-tests"
HOST = "files.fal.test"


@dataclass
class Asked:
    """One accepted request."""

    id: str
    model: str
    arguments: dict[str, Any]
    headers: dict[str, str]
    at: float
    cancelled: str = ""  # the state it was in then

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self.at


@dataclass
class LoopbackFal:
    """queue_s, work_s: of every request. refuse: by its number, what its result is instead (status and body). hang, cut, answer: by verb
    (submit, status, result, cancel, file): never answer; hang up; answer with this status or this body instead."""

    queue_s: float = 0.0
    work_s: float = 0.05
    picture: bytes = b""
    blacked_out: bool = False
    link: str | None = None
    asked: list[Asked] = field(default_factory=list)
    submitted: int = 0
    refuse: dict[int, tuple[int, Any]] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    answer: dict[str, tuple[int, Any]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    port: int = 0
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def billed(self) -> int:
        """Requests that cost money."""
        made = [
            one for index, one in enumerate(self.asked) if index not in self.refuse and self.state(one) == "COMPLETED" and not one.cancelled
        ]
        return len(made) + sum(one.cancelled == "IN_PROGRESS" for one in self.asked)

    def state(self, one: Asked) -> str:
        if one.cancelled:
            return "COMPLETED"
        return "IN_QUEUE" if one.waited_s < self.queue_s else "IN_PROGRESS" if one.waited_s < self.queue_s + self.work_s else "COMPLETED"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        verb = self._verb(request)
        self.submitted += verb == "submit"
        if verb in self.hang:
            await asyncio.sleep(60)
        if verb in self.cut:
            assert request.transport is not None
            request.transport.abort()
        if verb in self.answer:
            status, body = self.answer[verb]
            return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body), headers=self.headers)
        if verb == "file":
            return web.Response(body=self.picture)
        if request.headers.get("Authorization") != f"Key {KEY}":
            return web.json_response({"detail": "Cannot access application"}, status=401)
        if verb == "submit":
            return await self._submit(request)
        one = next((one for one in self.asked if one.id == request.path.split("/requests/")[1].split("/")[0]), None)
        if one is None:
            return web.json_response({"detail": "Request not found"}, status=404)
        return getattr(self, f"_{verb}")(one)

    @staticmethod
    def _verb(request: web.Request) -> str:
        if request.path.startswith("/files/"):
            return "file"
        if request.method == "POST":
            return "submit"
        if request.method == "PUT":
            return "cancel"
        return "status" if request.path.endswith("/status") else "result"

    async def _submit(self, request: web.Request) -> web.Response:
        one = Asked(f"id-{next(self._ids)}", request.path[1:], await request.json(), dict(request.headers), time.monotonic())
        self.asked.append(one)
        # Addresses elsewhere, as a vendor that was broken into might send them: the client must not carry the key there.
        base = f"http://elsewhere.test/{one.model}/requests/{one.id}"
        urls = {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}
        return web.json_response({"status": "IN_QUEUE", "request_id": one.id, "queue_position": 0} | urls)

    def _status(self, one: Asked) -> web.Response:
        state = self.state(one)
        body: dict[str, Any] = {"status": state, "logs": None}
        return web.json_response(body | ({"queue_position": 3} if state == "IN_QUEUE" else {}), status=200 if state == "COMPLETED" else 202)

    def _result(self, one: Asked) -> web.Response:
        if self.asked.index(one) in self.refuse:
            status, body = self.refuse[self.asked.index(one)]
            return web.json_response(body, status=status, headers=self.headers)
        if one.cancelled:
            return web.json_response({"detail": "Request was cancelled"}, status=400)
        link = self.link or f"http://{HOST}:{self.port}/files/{one.id}.png"
        return web.json_response({"images": [{"url": link}], "seed": one.arguments["seed"], "has_nsfw_concepts": [self.blacked_out]})

    def _cancel(self, one: Asked) -> web.Response:
        state = self.state(one)
        if state == "COMPLETED":
            return web.json_response({"status": "ALREADY_COMPLETED"}, status=400)
        one.cancelled = state
        return web.json_response({"status": "CANCELLATION_REQUESTED"}, status=202)


def picture(side: int = 64) -> bytes:
    return write_image(np.random.default_rng(3).integers(0, 255, (side, side, 3), np.uint8), "png")


@asynccontextmanager
async def loopback_fal() -> AsyncIterator[LoopbackFal]:
    cloud = LoopbackFal(picture=picture())
    app = web.Application(client_max_size=50_000_000)
    app.router.add_route("*", "/{path:.*}", cloud.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    cloud.port = runner.addresses[0][1]
    try:
        yield cloud
    finally:
        await runner.cleanup()
