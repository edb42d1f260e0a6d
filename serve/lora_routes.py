"""`/loras`: what callers may name, bringing one, and forgetting one."""

import json
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field, StringConstraints
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from deployments.spec import request as spec
from models.errors import BadRequest, TooLarge
from serve.bodies import parse
from serve.loras import Loras, NewLora

RegistryName = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=120)]
FORM_ROOM = 100_000  # bytes of a form beside its file


class LoraUpload(spec.Request):
    """What is said of a LoRA beside its file."""

    name: RegistryName = Field(description="How requests name it: letters, digits, dots, dashes and underscores.")
    base: str = Field(max_length=80, description="The deployment it was trained for, as `GET /models` names them.")
    trigger_word: str = Field(default="", max_length=200, description="Put before prompts that do not have it.")
    licence: str = Field(default="unknown", max_length=80, description="Licence of the LoRA, for your records.")


def add_lora_routes(app: FastAPI, registry: Loras, tenant_of: Callable[[Request], str]) -> None:
    """Add the three routes."""

    @app.get("/loras", summary="The LoRAs that calls may name.", tags=["loras"])
    async def listed(http: Request) -> dict[str, Any]:
        found = await registry.listed(tenant_of(http))
        return {"loras": found, "count": len(found)}

    @app.post(
        "/loras", summary="Bring a LoRA: a form with `file` and the fields, or the bytes with the fields in the query.", tags=["loras"]
    )
    async def add(http: Request) -> JSONResponse:
        tenant = tenant_of(http)  # before the body is read
        async with _received(http, registry.max_bytes) as (fields, file):
            said = parse(LoraUpload, json.dumps(fields).encode())
            new = NewLora(name=said.name.removesuffix(".safetensors"), base=said.base, trigger_word=said.trigger_word, licence=said.licence)
            entry, is_new = await registry.add(new, file, tenant)
        return JSONResponse(entry, status_code=201 if is_new else 200)

    @app.delete("/loras/{name}", summary="Forget a LoRA of yours.", tags=["loras"], status_code=204)
    async def remove(name: str, http: Request) -> Response:
        await registry.remove(name.removesuffix(".safetensors"), tenant_of(http))
        return Response(status_code=204)


@asynccontextmanager
async def _received(http: Request, limit: int) -> AsyncGenerator[tuple[dict[str, str], Path]]:
    """The fields and the file of an upload, on disk for as long as this is open. Raises TooLarge as soon as that is known."""
    is_form = http.headers.get("content-type", "").startswith("multipart/form-data")
    stream = _capped(http, limit + (FORM_ROOM if is_form else 0), limit)
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        if is_form:
            fields = await _form(http, stream, file)
        else:
            fields = dict(http.query_params)
            async for chunk in stream:
                file.write(chunk)
        file.flush()
        yield fields, Path(file.name)


async def _form(http: Request, stream: AsyncGenerator[bytes, None], file: Any) -> dict[str, str]:
    try:
        form = await MultiPartParser(http.headers, stream, max_files=1, max_fields=8).parse()
    except MultiPartException as error:
        raise BadRequest(f"the form cannot be read: {error.message}") from None
    async with _closing(form):
        sent = form.get("file")
        if not isinstance(sent, UploadFile):
            raise BadRequest("the form needs a part named `file` with the .safetensors")
        while chunk := await sent.read(1 << 20):
            file.write(chunk)
        return {name: value for name, value in form.items() if isinstance(value, str)}


@asynccontextmanager
async def _closing(form: Any) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await form.close()


async def _capped(http: Request, limit: int, said: int) -> AsyncGenerator[bytes, None]:
    too_large = TooLarge(f"the LoRA is over the limit of {said:,} bytes; save it in bfloat16 or with a lower rank")
    declared = http.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    size = 0
    async for chunk in http.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        yield chunk
