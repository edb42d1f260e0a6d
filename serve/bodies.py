"""Reading a request: size before bytes, bytes before schema, and schema errors as sentences."""

import difflib
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import Request as HttpRequest

from deployments.spec.request import Request
from models.errors import BadRequest, TooLarge

Schema = TypeVar("Schema", bound=Request)
SHOWN = 80  # characters of a wrong value that an error shows; the rest could be megabytes of base64


async def read_body(http: HttpRequest, limit: int) -> bytes:
    """The raw body, refused as soon as it is known to be over `limit` bytes. Raises TooLarge."""
    too_large = TooLarge(f"the body is over the limit of {limit:,} bytes; send a smaller picture or clip")
    declared = http.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    async for chunk in http.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


def parse(schema: type[Schema], body: bytes) -> Schema:
    """The body as `schema`. Raises BadRequest with a sentence for each thing that is wrong."""
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        problems = [_sentence(schema, dict(item)) for item in error.errors(include_url=False, include_context=True)]
        raise BadRequest("; ".join(problems[:5])) from None


def _sentence(schema: type[Request], error: dict[str, Any]) -> str:
    kind, where = error["type"], ".".join(str(part) for part in error["loc"])
    if kind == "json_invalid":
        return f"the body is not valid JSON ({error['ctx']['error']}); send one JSON object"
    if not where:
        return str(error["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return _unknown(schema, where)
    if kind == "missing":
        field = schema.model_fields.get(schema.spellings().get(where, where))
        return f"{where} is required: {field.description if field and field.description else 'give it a value'}".rstrip(".")
    value = repr(error["input"])
    shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}… ({len(value):,} characters)"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {message[:1].lower()}{message[1:]}, got {shown}"


def _unknown(schema: type[Request], where: str) -> str:
    spellings = schema.spellings()
    if where in spellings:
        return f"{where} is another spelling of {spellings[where]}; send one of them"
    near = difflib.get_close_matches(where, spellings, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known fields: {', '.join(schema.model_fields)}"
    return f"{where!r} is not a field of this endpoint; {hint}"
