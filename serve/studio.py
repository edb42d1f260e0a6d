"""`POST /generate`: takes what RYLA's Studio sends; `deployments/studio.py` picks the endpoint and the provider, which answer as ever."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest

from deployments import select
from deployments.spec.endpoint import Endpoint
from deployments.spec.fallback import FalModel
from deployments.spec.fields import MAX_SEED
from deployments.spec.inputs import PICTURE_LIMITS
from deployments.spec.request import Request
from deployments.spec.studio import Selection, StudioRequest
from models.errors import NotConfigured
from models.media import as_data_url
from models.runner import Fact
from serve.bodies import parse, read_body
from serve.catalogue import operation
from serve.fetch import Fetcher
from serve.outside import Outside

MAX_BODY: Final = 50_000_000  # bytes; the reference may be a data URL
FIELD: Final = "referenceImageUrl"
PICTURES: Final = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/avif")


@dataclass(frozen=True, slots=True)
class Chosen:
    """One call of an endpoint, as it was chosen for the caller. raw: the body that the caller sent. facts: what the reply tells of it."""

    endpoint: Endpoint
    request: Request
    raw: bytes
    outside: Outside
    facts: dict[str, Fact]


Answer = Callable[[Chosen, HttpRequest], Awaitable[Response]]


class Studio:
    """Chooses. has_fal: whether fal is set up here."""

    def __init__(self, endpoints: Mapping[str, Endpoint], fetcher: Fetcher, *, has_fal: bool) -> None:
        self._endpoints = endpoints
        self._fetcher = fetcher
        self._has_fal = has_fal

    async def choose(self, raw: bytes) -> Chosen:
        """What answers a body. Raises BadRequest and its kin, or NotConfigured for what is not served here."""
        asked = parse(StudioRequest, raw)
        selected = select(asked)
        endpoint = self._endpoints.get(selected.path)
        if endpoint is None:
            raise NotConfigured(f"this call needs {selected.path}, which is not served here; name another model in modelPreference")
        if selected.fal is not None and not self._has_fal:
            raise NotConfigured(f"{asked.model_preference} runs at fal alone, and no key for it is set up here; name another model")
        body = {"seed": secrets.randbelow(MAX_SEED + 1)} | selected.body
        if selected.reference is not None and asked.reference_image_url is not None:
            body[selected.reference] = await self._picture(asked.reference_image_url)
        request = endpoint.request.model_validate(body)
        outside = Outside(asked.nsfw, self._only(asked, selected, endpoint))
        return Chosen(endpoint, request, raw, outside, {"endpoint": endpoint.path, "selection": selected.rule})

    def _only(self, asked: StudioRequest, selected: Selection, endpoint: Endpoint) -> FalModel | None:
        """The model of fal's that the caller asks for itself, by its name or by the provider's."""
        if asked.nsfw or not self._has_fal:
            return None
        wished = endpoint.fal if asked.model_provider == "fal" and selected.may_leave else None
        return selected.fal or wished

    async def _picture(self, link: str) -> str:
        """The reference as a data URL; a link is fetched, from public addresses alone."""
        if link[:5].lower() == "data:":
            return link
        fetched = await self._fetcher.fetch(link, FIELD, kinds=PICTURES, limits=PICTURE_LIMITS)
        return as_data_url(fetched.data, fetched.media_type)


def add_studio(app: FastAPI, studio: Studio, tenant_of_request: Callable[[HttpRequest], str], answer: Answer) -> None:
    """Add the route; `answer` carries out what was chosen."""

    async def generate(http: HttpRequest) -> Response:
        tenant_of_request(http)  # before the body is read, and before anything is fetched for it
        return await answer(await studio.choose(await read_body(http, MAX_BODY)), http)

    app.add_api_route(
        "/generate",
        generate,
        methods=["POST"],
        name="generate",
        summary="A picture as RYLA's Studio asks for it; the endpoint and the provider are chosen here.",
        description="`X-Endpoint` says which endpoint answered and `X-Selection` by which rule; the reply is that endpoint's.",
        tags=["image"],
        openapi_extra=operation(StudioRequest, "image", {"prompt": "a woman in a sunlit café", "nsfw": False, "aspect": "2:3"}),
        response_class=Response,
        response_model=None,
    )
