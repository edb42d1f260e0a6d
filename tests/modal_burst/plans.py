"""Plans of the declared endpoints at toy size, by what they need rather than by name."""

import base64
from functools import cache

from skimage import data

from deployments import deployments, endpoints
from deployments.spec.endpoint import Plan
from models.media import write_image


def chain_plan(seed: int = 7, **changes) -> Plan:
    """A video that flows into a second model."""
    return _plan(2, seed, changes)


def video_plan(seed: int = 7, **changes) -> Plan:
    """A video from a prompt alone."""
    return _plan(1, seed, changes)


@cache
def _face() -> str:
    return "data:image/png;base64," + base64.b64encode(write_image(data.astronaut()[:192, 128:320], "png")).decode()


def _plan(stages: int, seed: int, changes: dict) -> Plan:
    endpoint = next(
        e
        for e in endpoints().values()
        if len(e.deployments) == stages
        and e.output_type == "video"
        and e.input_type == ("text" if stages == 1 else "text+image")
        and all(deployments()[name].burst for name in e.deployments)
    )
    pictures = {name: _face() for name, field in endpoint.request.model_fields.items() if field.is_required() and name.endswith("image")}
    size = {"width": 128, "height": 128, "length": 5, "steps": 2, "output_format": "mp4"}
    return endpoint.plan(endpoint.request(**endpoint.example | pictures | size | changes), seed)
