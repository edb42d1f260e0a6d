"""`GET /models`: the registry of endpoints as RYLA's clients know it, and its OpenAPI."""

from collections.abc import Mapping
from typing import Any

from deployments.spec.deployment import Deployment
from deployments.spec.endpoint import Endpoint
from deployments.spec.request import Request

MEDIA_TYPES = {"image": ("image/png", "image/jpeg", "image/webp"), "video": ("video/mp4", "image/webp")}


def entry(endpoint: Endpoint, deployments: Mapping[str, Deployment], profile: str, rates: Mapping[str, float]) -> dict[str, Any]:
    """One endpoint's entry, with its expected price on the preferred card."""
    used = [deployments[name] for name in endpoint.deployments]
    cards = [next(iter(d.gpu.share.items())) for d in used]
    return {
        "path": endpoint.path,
        "backendId": endpoint.name,
        "description": endpoint.summary,
        "note": endpoint.note,
        "provider": "ryla",
        "profile": profile,
        "models": [d.model for d in used],
        "deployments": list(endpoint.deployments),
        "licences": sorted({c.licence for d in used for c in d.weights.values()}),
        "capabilities": list(endpoint.capabilities),
        "inputType": endpoint.input_type,
        "outputType": endpoint.output_type,
        "supportsNSFW": endpoint.nsfw,
        "supportsLoRA": endpoint.lora,
        "fallbacks": {"fal": endpoint.fal and endpoint.fal.id, "comfyui": endpoint.comfyui and endpoint.comfyui.kind},
        "expectedUsdPerUnit": round(sum(d.seconds_per_unit * rates[card] * share for d, (card, share) in zip(used, cards, strict=True)), 6),
    }


def openapi_extra(endpoint: Endpoint) -> dict[str, Any]:
    """The request body and the replies of an endpoint."""
    return operation(endpoint.request, endpoint.output_type, endpoint.example)


def operation(request: type[Request], output_type: str, example: Mapping[str, Any]) -> dict[str, Any]:
    """A request body that is read by hand, so that FastAPI cannot know it, and the replies: media or problems."""
    ok = {media: {"schema": {"type": "string", "format": "binary"}} for media in (*MEDIA_TYPES[output_type], "text/event-stream")}
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{request.__name__}"},
                    **({"example": dict(example)} if example else {}),
                }
            },
        },
        "responses": {
            "200": {"description": "The finished media; `Accept: text/event-stream` gives progress first.", "content": ok},
            **{code: {"description": text, "content": problem} for code, text in PROBLEMS.items()},
        },
    }


PROBLEMS = {
    "400": "The request is wrong; the sentence tells the way out.",
    "401": "No API key, or an unknown one.",
    "403": "Not allowed: a licence, a consent or a safety rule forbids it.",
    "404": "Nothing of that name, such as a LoRA, is known.",
    "409": "The idempotency key was used before.",
    "413": "Over a limit on bytes, pixels, frames or seconds.",
    "429": "No capacity; `Retry-After` says when to try again.",
    "500": "Our fault, and logged under the job's id.",
    "501": "Not set up here; the sentence says what is missing.",
    "502": "The result did not pass the quality gate that was asked for.",
    "503": "The process died under the call, or its card ran out of memory; send it again.",
    "504": "The deadline passed.",
}


def schemas(endpoints: Mapping[str, Endpoint], *others: type[Request]) -> dict[str, Any]:
    """OpenAPI components of all request schemas, and of `others`."""
    found: dict[str, Any] = {
        "Problem": {
            "type": "object",
            "required": ["error", "detail", "type"],
            "properties": {
                "error": {"type": "string", "description": "A sentence that tells the way out."},
                "detail": {"type": "string", "description": "The same sentence, for callers that read this key."},
                "type": {"type": "string"},
                "job_id": {"type": ["string", "null"]},
            },
        }
    }
    for request in {*others, *(endpoint.request for endpoint in endpoints.values())}:
        schema = request.model_json_schema(ref_template="#/components/schemas/{model}", by_alias=False)
        found |= schema.pop("$defs", {})
        found[request.__name__] = schema
    return found
