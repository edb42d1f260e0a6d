"""Pools: which deployments one container of the mirror holds, and on which card. Each scales by itself."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from deployments import deployments, endpoints
from deployments.spec.deployment import Deployment
from deployments.spec.endpoint import Plan
from models.errors import NotConfigured

SEPARATOR: Final = "+"
_PREFERENCE: Final = ("L40S", "A100-40GB", "A100-80GB", "H100", "H200", "B200")  # by memory; a chain takes the larger of its two cards


@dataclass(frozen=True, slots=True)
class Pool:
    """Containers that hold the same one or two deployments.

    gpu: the card each container has to itself. concurrency: calls that one takes at once, to run them together or as a batch.
    cold_start_s: expected seconds until a new container runs its first call. longest_s: the longest call.
    """

    deployments: tuple[str, ...]
    gpu: str
    concurrency: int
    cold_start_s: float
    longest_s: float

    @property
    def key(self) -> str:
        """The parameter that selects the pool: "wan-ti2v+face-swap"."""
        return SEPARATOR.join(self.deployments)


@cache
def pool(names: tuple[str, ...]) -> Pool:
    """The pool of these deployments, in the order of a plan's stages. Raises NotConfigured when it is not mirrored.

    A chain is when an endpoint always needs it; one with a stage that its caller chose runs in part on the mirror, if at all.
    """
    if len(names) > 1 and names not in _chains():
        raise NotConfigured(f"the chain {SEPARATOR.join(names)} is not mirrored: no endpoint declares it")
    held = [_mirrored(name) for name in names]
    bursts = [declared.burst for declared in held if declared.burst is not None]
    return Pool(
        deployments=names,
        gpu=max((burst.gpu for burst in bursts), key=_PREFERENCE.index),
        concurrency=held[0].concurrency * held[0].batch if len(held) == 1 else min(declared.concurrency for declared in held),
        cold_start_s=sum(burst.cold_start_s for burst in bursts),
        longest_s=max(declared.replicas.longest_s for declared in held),
    )


def pool_of(plan: Plan) -> Pool:
    """The pool that runs a whole plan."""
    return pool(tuple(stage.deployment for stage in plan.stages))


@cache
def _chains() -> frozenset[tuple[str, ...]]:
    return frozenset(endpoint.deployments for endpoint in endpoints().values() if len(endpoint.deployments) == 2)


def pools() -> dict[str, Pool]:
    """The pools that calls go to, by key: each mirrored deployment alone, and each chain that an endpoint declares."""
    wanted = {(name,) for name in deployments()} | _chains()
    mirrored = {names for names in wanted if names and all(deployments()[name].burst is not None for name in names)}
    return {SEPARATOR.join(names): pool(names) for names in sorted(mirrored)}


def _mirrored(name: str) -> Deployment:
    declared = deployments().get(name)
    if declared is None or declared.burst is None:
        raise NotConfigured(f"{name!r} is not mirrored; a deployment is when it declares a `burst`")
    if declared.burst.gpu not in _PREFERENCE:
        raise NotConfigured(f"{name!r} bursts to {declared.burst.gpu!r}, which is none of {', '.join(_PREFERENCE)}")
    return declared
