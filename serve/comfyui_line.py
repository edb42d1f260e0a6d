"""The line to a ComfyUI pod: its HTTP requests and its websocket, each bounded, its errors as ours."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from deployments.spec.fallback import ApiGraph
from deployments.spec.inputs import PICTURE_LIMITS
from models.errors import BackendFailed, DeadlineExceeded, FaultKind, TooLarge
from models.media import write_image
from models.task import Image

log = logging.getLogger("ryla.burst")

MAX_JSON: Final = 10_000_000  # bytes; a history entry holds the graph and a few names
MAX_MESSAGE: Final = 10_000_000  # bytes; previews are the largest


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the websocket."""

    kind: str
    data: Mapping[str, Any]


class Pod:
    """Where the pod is. url: http or https; token: what it asks for as `Authorization: Bearer`, if anything."""

    def __init__(self, url: str, token: str | None, *, request_s: float) -> None:
        if httpx.URL(url).scheme not in ("http", "https"):
            raise ValueError(f"RYLA_COMFYUI_URL must begin with http:// or https://, got {url!r}")
        self._url = url.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._request_s = request_s

    @asynccontextmanager
    async def line(self, client: str, deadline: float) -> AsyncGenerator["Line"]:
        """A line for one call; `client` is the name under which its messages come. Raises BackendFailed."""
        socket = await self._socket(client, deadline)
        try:
            async with httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=self._request_s, trust_env=False) as http:
                yield Line(http, socket, deadline, self._request_s)
        finally:
            socket.transport.abort()

    async def _socket(self, client: str, deadline: float) -> ClientConnection:
        url = "ws" + self._url.removeprefix("http") + f"/ws?clientId={client}"
        bound_s = max(0.01, min(self._request_s, deadline - time.time()))
        try:
            async with asyncio.timeout(bound_s):
                return await connect(url, additional_headers=self._headers, max_size=MAX_MESSAGE, open_timeout=bound_s, proxy=None)
        except WebSocketException as error:
            response = getattr(error, "response", None)
            raise _refused(response.status_code) if response is not None else _unreachable(error) from error
        except (OSError, TimeoutError) as error:
            raise _unreachable(error) from error


class Line:
    """One call's line."""

    def __init__(self, http: httpx.AsyncClient, socket: ClientConnection | None, deadline: float, request_s: float) -> None:
        self._http = http
        self._socket = socket
        self._deadline = deadline
        self._request_s = request_s

    async def upload(self, picture: Image, name: str) -> str:
        """Put a picture into the temporary folder. Returns the name by which a graph loads it."""
        data = await asyncio.to_thread(write_image, picture, "png")
        files = {"image": (name, data, "image/png")}
        answer = await self._json("POST", "/upload/image", files=files, data={"type": "temp", "overwrite": "true"})
        match answer:
            case {"name": str(kept)}:
                return f"{kept} [temp]"
            case _:
                raise _unknown_form()

    async def queue(self, graph: ApiGraph, client: str) -> str:
        """Queue a graph. Returns its id. Raises BackendFailed of kind CONFIG when the pod lacks a node or a file for it."""
        match await self._json("POST", "/prompt", json={"prompt": graph, "client_id": client}):
            case {"prompt_id": str(found)}:
                return found
            case _:
                raise _unknown_form()

    async def hear(self, seconds: float) -> Message | None:
        """The next message; None when none came, or when the websocket is lost. Pictures on the way are passed over."""
        if self._socket is None:
            await asyncio.sleep(seconds)
            return None
        try:
            async with asyncio.timeout(seconds):
                while True:
                    heard = await self._socket.recv()
                    if isinstance(heard, str):
                        return _message(heard)
        except TimeoutError:
            return None
        except WebSocketException:
            log.info("the websocket to the pod is lost; its history is asked instead")
            self._socket = None
            return None

    async def history(self, prompt: str) -> Mapping[str, Any] | None:
        """The history's entry of a graph that is done; None for one that is not."""
        match await self._json("GET", f"/history/{prompt}"):
            case dict() as found:
                entry = cast(dict[str, Any], found).get(prompt)
                return cast(Mapping[str, Any], entry) if isinstance(entry, dict) else None
            case _:
                raise _unknown_form()

    async def view(self, where: Mapping[str, str]) -> bytes:
        """A picture's bytes."""
        try:
            return await self._request("GET", "/view", PICTURE_LIMITS.max_bytes, params=dict(where))
        except TooLarge as error:
            raise BackendFailed("the pod's picture is too large", None, FaultKind.INFRA) from error

    async def let_go(self, prompt: str, *, over: bool) -> None:
        """Stop a graph that is not over, whether it waits or runs, and have it forgotten. Nobody else's is touched."""
        last = Line(self._http, None, time.time() + 3 * self._request_s, self._request_s)  # though the call's own time may be up
        try:
            if not over:
                await last._request("POST", "/queue", MAX_JSON, json={"delete": [prompt]})
                if prompt in json.dumps((await last._json("GET", "/queue")).get("queue_running")):
                    await last._request("POST", "/interrupt", MAX_JSON, json={"prompt_id": prompt})
            await last._request("POST", "/history", MAX_JSON, json={"delete": [prompt]})
        except Exception as error:
            log.info("the pod could not be told to drop a call (%s)", type(error).__name__)

    async def _json(self, method: str, path: str, **content: Any) -> Any:
        body = await self._request(method, path, MAX_JSON, **content)
        try:
            return json.loads(body)
        except ValueError:
            raise _unknown_form() from None

    async def _request(self, method: str, path: str, limit: int, **content: Any) -> bytes:
        """One request's whole answer, of `limit` bytes at most."""
        left_s = self._deadline - time.time()
        if left_s <= 0:
            raise DeadlineExceeded("the deadline passed while the pod was working; ask for less work or a later deadline")
        try:
            async with asyncio.timeout(min(self._request_s, left_s)), self._http.stream(method, path, **content) as response:
                if response.status_code != 200:
                    raise _refused(response.status_code)
                data = bytearray()
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > limit:
                        raise TooLarge(f"the pod's answer is over {limit:,} bytes")
                return bytes(data)
        except (httpx.HTTPError, TimeoutError) as error:
            raise _unreachable(error) from error


def _message(text: str) -> Message:
    try:
        match json.loads(text):
            case {"type": str(kind), "data": dict() as data}:
                return Message(kind, cast(dict[str, Any], data))
            case _:
                return Message("", {})
    except ValueError:
        return Message("", {})


def _unreachable(error: BaseException) -> BackendFailed:
    return BackendFailed(f"the pod does not answer ({type(error).__name__})", None, FaultKind.INFRA)


def _unknown_form() -> BackendFailed:
    return BackendFailed("the pod answers in a form that is not known here", None, FaultKind.CONFIG)


def _refused(status: int) -> BackendFailed:
    if status in (401, 403):
        return BackendFailed(f"the pod refuses our token ({status})", None, FaultKind.CONFIG)
    if status == 429:
        return BackendFailed("the pod asks for fewer calls", None, FaultKind.THROTTLED)
    if status < 500:
        return BackendFailed(f"the pod cannot run this graph or has no such path ({status}); does it lack a node?", None, FaultKind.CONFIG)
    return BackendFailed(f"the pod failed ({status})", None, FaultKind.INFRA)
