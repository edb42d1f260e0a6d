"""The HTTP API: a plain function of the declarations and what carries calls out. Knows no model and no Ray."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from deployments.spec.deployment import Deployment
from deployments.spec.endpoint import Endpoint, Retired
from deployments.spec.request import Request as Asked
from deployments.spec.studio import StudioRequest
from models.errors import BadRequest, RylaError
from models.host import Event, Result
from serve.auth import tenant_of
from serve.bodies import parse, read_body
from serve.calls import Caller, Calls
from serve.catalogue import entry, openapi_extra, schemas
from serve.costs import add_costs
from serve.fallbacks import FAL
from serve.fetch import Fetcher
from serve.lora_routes import add_lora_routes
from serve.outside import Outside, nsfw_of
from serve.overflow import Mode
from serve.playground import add_playground
from serve.presence import while_present
from serve.problems import problem
from serve.replies import event_reply, headers_of, media_reply
from serve.retired import add_retired
from serve.settings import Settings
from serve.studio import Chosen, Studio, add_studio

Readiness = Callable[[], Awaitable[dict[str, bool]]]


@dataclass(frozen=True, slots=True)
class Api:
    """What the API is made of."""

    endpoints: Mapping[str, Endpoint]
    deployments: dict[str, Deployment]
    calls: Calls
    settings: Settings
    readiness: Readiness
    retired: Mapping[str, Retired] = field(default_factory=dict[str, Retired])
    fetcher: Fetcher = field(default_factory=Fetcher)


def create_app(api: Api) -> FastAPI:
    """The FastAPI app: one route an endpoint, and the few that are not generated."""
    app = FastAPI(title="RYLA generation", version="1", docs_url="/docs", redoc_url=None)
    for endpoint in api.endpoints.values():
        _add_endpoint(app, api, endpoint)
    add_retired(app, [gone for gone in api.retired.values() if gone.path not in api.endpoints])
    _add_views(app, api)
    add_costs(app, api.calls.jobs, api.settings, lambda http: tenant_of_request(api, http))
    add_lora_routes(app, api.calls.loras, lambda http: tenant_of_request(api, http))
    add_playground(app, api.endpoints, lambda endpoint, http, body: _call(api, endpoint, http, body))
    _add_studio(app, api)
    _add_problems(app, api)
    app.openapi = lambda: _openapi(app, api)
    return app


def _add_endpoint(app: FastAPI, api: Api, endpoint: Endpoint) -> None:
    async def handle(http: Request) -> Response:
        tenant_of_request(api, http)  # before the body is read
        return await _call(api, endpoint, http, await read_body(http, api.settings.max_body_bytes))

    app.add_api_route(
        endpoint.path,
        handle,
        methods=["POST"],
        name=endpoint.name,
        summary=endpoint.summary,
        description=endpoint.note,
        tags=[endpoint.output_type],
        openapi_extra=openapi_extra(endpoint),
        response_class=Response,
        response_model=None,
    )


async def _call(api: Api, endpoint: Endpoint, http: Request, body: bytes) -> Response:
    """One call of an endpoint, from its raw body to its reply."""
    return await _reply(api, endpoint, http, parse(endpoint.request, body), body, _caller(api, http))


async def _reply(api: Api, endpoint: Endpoint, http: Request, request: Asked, body: bytes, caller: Caller) -> Response:
    job = await api.calls.accept(endpoint, request, body, caller)
    events = api.calls.carry_out(job, caller.deadline)
    if "text/event-stream" in http.headers.get("accept", ""):
        return event_reply(job, events, api.deployments, api.settings.profile)
    try:
        result = await while_present(http, _last(events))
    except Exception as error:
        return problem(error, job.id)
    finally:
        api.calls.abandon(job)
    return media_reply(result, headers_of(job, result, api.deployments, api.settings.profile))


def _add_studio(app: FastAPI, api: Api) -> None:
    async def answer(chosen: Chosen, http: Request) -> Response:
        caller = replace(_caller(api, http), outside=chosen.outside, facts=chosen.facts)
        return await _reply(api, chosen.endpoint, http, chosen.request, chosen.raw, caller)

    has_fal = api.calls.fallbacks is not None and api.calls.fallbacks.has(FAL)
    add_studio(app, Studio(api.endpoints, api.fetcher, has_fal=has_fal), lambda http: tenant_of_request(api, http), answer)


async def _last(events: AsyncGenerator[Event, None]) -> Result:
    result: Result | None = None
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Result):
                result = event
    assert result is not None, "a run ends with a result or raises"
    return result


def tenant_of_request(api: Api, http: Request) -> str:
    """The calling tenant. Raises Unauthorized."""
    peer = http.client.host if http.client else None
    return tenant_of(api.settings, http.headers.get("authorization"), http.headers.get("x-api-key"), peer)


def _caller(api: Api, http: Request) -> Caller:
    key = http.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= 200:
        raise BadRequest(f"Idempotency-Key must have 1 to 200 characters, got {len(key)}")
    deadline = time.time() + _seconds(api, http.headers.get("x-timeout-seconds"))
    outside = Outside(nsfw_of(http.headers.get("x-nsfw")))
    return Caller(tenant_of_request(api, http), key, deadline, _burst(http.headers.get("x-burst")), outside)


def _burst(asked: str | None) -> Mode:
    try:
        return Mode.AUTO if asked is None else Mode(asked.strip().lower())
    except ValueError:
        raise BadRequest(f"X-Burst must be one of {', '.join(Mode)}, got {asked!r}") from None


def _seconds(api: Api, asked: str | None) -> float:
    if asked is None:
        return api.settings.max_seconds
    try:
        seconds = float(asked)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= api.settings.max_seconds:
        raise BadRequest(f"X-Timeout-Seconds must be above 0 and at most {api.settings.max_seconds:g}, got {asked!r}")
    return seconds


def _add_views(app: FastAPI, api: Api) -> None:
    @app.get("/health", summary="Whether this process answers.", tags=["service"])
    async def health() -> dict[str, str]:
        return {"status": "healthy", "app": "ryla", "profile": api.settings.profile}

    @app.get("/ready", summary="Which models are up; 503 until all are.", tags=["service"])
    async def ready() -> JSONResponse:
        models = await api.readiness()
        ok = all(models.values())
        return JSONResponse({"ready": ok, "models": models}, status_code=200 if ok else 503)

    @app.get("/models", summary="The registry of endpoints.", tags=["service"])
    async def models() -> dict[str, Any]:
        entries = [entry(e, api.deployments, api.settings.profile, api.settings.rates) for e in api.endpoints.values()]
        return {"models": entries, "count": len(entries)}

    @app.get("/jobs/{job_id}", summary="One job of yours: its state, cost and outcome.", tags=["service"])
    async def job(job_id: str, http: Request) -> dict[str, Any]:
        row = await api.calls.row(job_id, tenant_of_request(api, http))
        return {name: value for name, value in row.items() if name not in ("tenant", "body_sha256", "fence")}


def _add_problems(app: FastAPI, api: Api) -> None:
    @app.exception_handler(RylaError)
    async def foreseen(_: Request, error: Exception) -> Response:
        api.calls.metrics.refused(error)
        return problem(error)

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> Response:
        api.calls.metrics.refused(error)
        return problem(error)

    @app.exception_handler(HTTPException)
    async def http_error(http: Request, error: Exception) -> Response:
        status = cast(HTTPException, error).status_code
        text = {
            404: f"nothing is served at {http.url.path}; GET /models lists the endpoints",
            405: f"{http.method} is not served at {http.url.path}; endpoints take POST, service pages GET",
        }.get(status, str(cast(HTTPException, error).detail))
        kind = {404: "NotFound", 405: "MethodNotAllowed"}.get(status, "HttpError")
        headers = cast(HTTPException, error).headers
        return JSONResponse({"error": text, "detail": text, "type": kind, "job_id": None}, status_code=status, headers=headers)


def _openapi(app: FastAPI, api: Api) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
        components = schema.setdefault("components", {})
        components["schemas"] = components.get("schemas", {}) | schemas(api.endpoints, StudioRequest)
        app.openapi_schema = schema
    return app.openapi_schema
