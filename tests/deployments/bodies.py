"""A smallest body for any endpoint: its example, with generated media in the fields that need some."""

import base64
from functools import cache
from typing import Any

import numpy as np
from skimage import data

from deployments.spec.endpoint import Endpoint
from models.media import Encoding, encode, write_image
from models.runner import Frames


@cache
def picture_url() -> str:
    return _url("image/png", write_image(np.ascontiguousarray(data.astronaut()[:192, 128:320]), "png"))


@cache
def clip_url() -> str:
    frames = Frames(np.stack([np.full((64, 64, 3), shade, np.uint8) for shade in (40, 80, 120, 160, 200)]), np.arange(5) / 8)
    return _url("video/mp4", encode(iter([frames]), Encoding(format="mp4")))


def body(endpoint: Endpoint) -> dict[str, Any]:
    """The endpoint's example, with a picture or clip in each required field that takes one."""
    schema = endpoint.request.model_json_schema(by_alias=False)
    required = [*schema.get("required", ()), *next(iter(schema.get("anyOf", ())), {}).get("required", ())]
    media = {name: _media(schema["properties"][name]) for name in required}
    return {name: value for name, value in media.items() if value is not None} | endpoint.example


def _media(field: dict[str, Any]) -> Any:
    if field.get("type") == "array":
        item = _media(field["items"])
        return None if item is None else [item]
    kind = field.get("contentMediaType")
    return {"image/*": picture_url(), "video/*": clip_url()}.get(kind)


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
