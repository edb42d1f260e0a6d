"""FLUX.2 pro: closed weights, served by their vendor alone."""

from typing import Never

from deployments.spec.endpoint import Endpoint
from deployments.spec.image import ImageRequest
from models.errors import NotConfigured

NEEDS = (
    "FLUX.2 pro has no open weights: Black Forest Labs serve it through their own API, and no key for it is set up here. "
    "/flux2-klein answers on this cluster"
)


class Flux2ProRequest(ImageRequest):
    """A prompt for FLUX.2 pro."""


def _plan(request: Flux2ProRequest, seed: int) -> Never:
    raise NotConfigured(NEEDS)


ENDPOINTS = (
    Endpoint(
        path="/flux2-pro",
        summary="A picture from a prompt, by the vendor's closed model.",
        deployments=(),
        request=Flux2ProRequest,
        plan=_plan,
        input_type="text",
        output_type="image",
        capabilities=("text-to-image",),
        nsfw=False,
        note="501 until the vendor's key is configured.",
        example={"prompt": "a red fox in fresh snow, morning light"},
    ),
)
