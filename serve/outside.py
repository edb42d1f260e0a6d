"""RYLA's rules on what may leave the cluster and its mirror, and for where.

    SFW                     cluster > modal > fal
    SFW with a reference    cluster > modal > fal's model for references
    NSFW                    cluster > modal > the legacy ComfyUI pod; never fal
    LoRAs, chains           cluster > modal
    neither marked          cluster > modal

A call is marked by its endpoint, by `nsfw` in its body, or by the header `X-NSFW`; where they disagree it is NSFW. One that nobody has
marked goes to no other vendor: a prompt that was never judged must not reach one that forbids what may be in it.
"""

from dataclasses import dataclass
from typing import Final

from deployments.spec.endpoint import Endpoint, Plan
from deployments.spec.fallback import ComfyWorkflow, FalModel
from deployments.spec.request import Request
from models.errors import BadRequest
from models.lora.holding import loras_of


@dataclass(frozen=True, slots=True)
class Outside:
    """What a call says of running outside. nsfw: None when nobody said. only: the model of fal's that it asks for itself."""

    nsfw: bool | None = None
    only: FalModel | None = None

    def also(self, request: Request) -> "Outside":
        """With what the body says."""
        marks = (self.nsfw, request.nsfw_mark)
        return Outside(True if True in marks else False if False in marks else None, self.only)


UNSAID: Final = Outside()


def nsfw_of(header: str | None) -> bool | None:
    """What `X-NSFW` says. Raises BadRequest."""
    if header is None:
        return None
    if header.strip().lower() not in ("true", "false"):
        raise BadRequest(f"X-NSFW must be true or false, got {header!r}")
    return header.strip().lower() == "true"


def place(endpoint: Endpoint, plan: Plan, outside: Outside) -> FalModel | ComfyWorkflow | None:
    """What may answer in the place of `endpoint`'s model; None for nothing."""
    if len(plan.stages) != 1 or any(loras_of(stage.task) for stage in plan.stages):
        return None
    if outside.nsfw is True or endpoint.always_nsfw:
        return endpoint.comfyui
    return (outside.only or endpoint.fal) if outside.nsfw is False else None
