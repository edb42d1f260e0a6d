"""`POST /playground/modal/call`: RYLA's playground names an endpoint and a body and wants the media as base64 in JSON.

Always HTTP 200, as its page expects; what went wrong is in `error`.
"""

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response

from deployments.spec.endpoint import Endpoint
from models.errors import BadRequest, NotFound, RylaError
from serve.bodies import read_body

PLAYGROUND_LIMIT = 100_000_000  # bytes; a playground page sends one picture or a short clip

Call = Callable[[Endpoint, Request, bytes], Awaitable[Response]]


def add_playground(app: FastAPI, endpoints: Mapping[str, Endpoint], call: Call) -> None:
    """Add the route; `call` answers one endpoint."""

    @app.post("/playground/modal/call", summary="Call an endpoint and get the media as base64 in JSON.", tags=["service"])
    async def playground(http: Request) -> dict[str, Any]:
        try:
            endpoint, body = _unpack(await read_body(http, PLAYGROUND_LIMIT), endpoints)
            response = await call(endpoint, http, body)
        except RylaError as error:
            return {"error": error.message}
        return _packed(response)


def _unpack(raw: bytes, endpoints: Mapping[str, Endpoint]) -> tuple[Endpoint, bytes]:
    try:
        asked = json.loads(raw)
        path, body = asked["endpoint"], asked.get("body") or {}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BadRequest('send {"endpoint": "/path", "body": {…}}') from None
    endpoint = endpoints.get(path if str(path).startswith("/") else f"/{path}")
    if endpoint is None:
        raise NotFound(f"no endpoint {path!r}; GET /models lists them")
    return endpoint, json.dumps(body).encode()


def _packed(response: Response) -> dict[str, Any]:
    if response.status_code != 200:
        return {"error": json.loads(bytes(response.body))["error"]}
    headers = {name.decode().lower(): value.decode() for name, value in response.raw_headers}
    return {
        "imageBase64": base64.b64encode(bytes(response.body)).decode(),
        "contentType": headers["content-type"],
        "costUsd": float(headers["x-cost-usd"]),
        "executionTimeSec": float(headers["x-execution-time-sec"]),
        "gpuType": headers["x-gpu-type"],
    }
