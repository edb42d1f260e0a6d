"""A stand-in for a ComfyUI pod on the loopback: its HTTP API, one graph at a time, and its websocket, with progress as the real one's."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.serve.loopback_fal import picture

TOKEN = "pod-token-of-the-tests"


@dataclass
class Queued:
    """One graph."""

    id: str
    graph: dict[str, Any]
    client: str


@dataclass
class LoopbackComfy:
    """step_s: of each of `steps` steps. ends: how graphs end: success, or execution_error and execution_interrupted with this data.

    hang, cut, answer: by path: never answer; hang up; answer with this status and body instead. deaf: sends nothing over the websocket.
    """

    step_s: float = 0.05
    steps: int = 4
    ends: tuple[str, dict[str, Any]] = ("execution_success", {})
    outputs: dict[str, Any] | None = None
    picture: bytes = field(default_factory=picture)
    hang: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    answer: dict[str, tuple[int, str]] = field(default_factory=dict)
    deaf: bool = False
    graphs: list[Queued] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    history: dict[str, Any] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    unqueued: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)
    running: Queued | None = None
    finished: int = 0
    port: int = 0
    _waiting: "list[Queued]" = field(default_factory=list)
    _sockets: dict[str, web.WebSocketResponse] = field(default_factory=dict)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = "/" + request.path.split("/")[1]
        if path in self.hang:
            await asyncio.sleep(60)
        if path in self.cut:
            assert request.transport is not None
            request.transport.abort()
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        if path in self.answer:
            status, body = self.answer[path]
            return web.Response(status=status, text=body)
        return await getattr(self, f"_{request.method.lower()}_{path[1:]}")(request)

    async def _get_ws(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[request.query["clientId"]] = socket
        await socket.send_json(
            {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": request.query["clientId"]}}
        )
        async for message in socket:
            if message.type is WSMsgType.ERROR:
                break
        return socket

    async def _post_upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        image: Any = form["image"]
        assert form["type"] == "temp"
        self.uploads[image.filename] = image.file.read()
        return web.json_response({"name": image.filename, "subfolder": "", "type": "temp"})

    async def _post_prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        queued = Queued(str(uuid.uuid4()), body["prompt"], body["client_id"])
        self.graphs.append(queued)
        self._waiting.append(queued)
        self._more.set()
        return web.json_response({"prompt_id": queued.id, "number": len(self.graphs), "node_errors": {}})

    async def _get_history(self, request: web.Request) -> web.Response:
        wanted = request.path.rsplit("/", 1)[1]
        return web.json_response({wanted: self.history[wanted]} if wanted in self.history else {})

    async def _post_history(self, request: web.Request) -> web.Response:
        for one in (await request.json())["delete"]:
            self.deleted.append(one)
            self.history.pop(one, None)
        return web.Response()

    async def _get_view(self, request: web.Request) -> web.Response:
        assert request.query["type"] == "temp"
        return web.Response(body=self.picture)

    async def _get_queue(self, _: web.Request) -> web.Response:
        running = [[0, self.running.id, self.running.graph, {}, []]] if self.running else []
        return web.json_response({"queue_running": running, "queue_pending": [[1, one.id, {}, {}, []] for one in self._waiting]})

    async def _post_queue(self, request: web.Request) -> web.Response:
        gone = (await request.json())["delete"]
        self.unqueued += [one.id for one in self._waiting if one.id in gone]
        self._waiting = [one for one in self._waiting if one.id not in gone]
        return web.Response()

    async def _post_interrupt(self, request: web.Request) -> web.Response:
        wanted = (await request.json()).get("prompt_id")
        if self.running is not None and wanted in (None, self.running.id):
            self.interrupted.append(self.running.id)
            self._stop.set()
        return web.Response()

    async def work(self) -> None:
        """Run one graph after the other, for as long as the pod is up."""
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            self.running = self._waiting.pop(0)
            self._stop.clear()
            await self._run(self.running)
            self.running = None

    async def _run(self, one: Queued) -> None:
        await self._tell(one, "execution_start", {})
        await self._tell(one, "executing", {"node": "6"})
        kind, data = self.ends
        for step in range(self.steps):
            try:
                await asyncio.wait_for(self._stop.wait(), self.step_s)
                kind, data = "execution_interrupted", {}
                break
            except TimeoutError:
                await self._tell(one, "progress", {"value": step + 1, "max": self.steps, "node": "6"})
                await self._preview(one)
        await self._tell(one, kind, data)
        ok = kind == "execution_success"
        shown = {"9": {"images": [{"filename": f"ComfyUI_temp_{one.id[:8]}.png", "subfolder": "", "type": "temp"}]}}
        outputs = shown if self.outputs is None else self.outputs
        status = {"status_str": "success" if ok else "error", "completed": ok, "messages": [["execution_start", {}], [kind, data]]}
        self.history[one.id] = {"prompt": [], "outputs": outputs if ok else {}, "status": status}
        self.finished += ok
        await self._tell(one, "executing", {"node": None})

    async def _preview(self, one: Queued) -> None:
        socket = self._sockets.get(one.client)
        if socket is not None and not socket.closed and not self.deaf:
            await socket.send_bytes(b"\x00\x00\x00\x01\x00\x00\x00\x01" + b"jpeg")

    async def _tell(self, one: Queued, kind: str, data: dict[str, Any]) -> None:
        socket = self._sockets.get(one.client)
        if socket is None or socket.closed or self.deaf:
            return
        with suppress(ConnectionError):
            await socket.send_str(json.dumps({"type": kind, "data": data | {"prompt_id": one.id}}))

    async def hang_up(self) -> None:
        """Lose every websocket."""
        for socket in self._sockets.values():
            await socket.close()


@asynccontextmanager
async def loopback_comfyui() -> AsyncIterator[LoopbackComfy]:
    pod = LoopbackComfy()
    app = web.Application(client_max_size=50_000_000)
    app.router.add_route("*", "/{path:.*}", pod.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    pod.port = runner.addresses[0][1]
    working = asyncio.create_task(pod.work())
    try:
        yield pod
    finally:
        working.cancel()
        await asyncio.wait([working])
        await runner.cleanup()
