"""Builds a gateway's dispatcher from its settings."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import Engine

from deployments.spec.deployment import Deployment
from modal_burst.settings import BurstSettings
from serve.budget import Budget, Caps
from serve.dispatch import Cluster, Dispatcher, Observe
from serve.estimator import Estimator
from serve.fallbacks import COMFYUI, FAL, Fallbacks, Runs
from serve.fetch import Fetcher
from serve.foresight import Foresight, Marks
from serve.outstanding import OutstandingHere
from serve.overflow import Outstanding
from serve.prices import Prices
from serve.settings import Settings

if TYPE_CHECKING:
    from serve.burst import Bursts, Mirror

TINY_FACTOR: Final = 0.02  # the toy models take about this part of what the declarations expect of the full ones


def estimator_of(settings: Settings, declared: Mapping[str, Deployment]) -> Estimator:
    """What a gateway knows of service times: one for all of its parts, so that they predict alike."""
    return Estimator(declared, TINY_FACTOR if settings.profile == "tiny" else 1.0)


def dispatcher(
    settings: Settings,
    cluster: Cluster,
    engine: Engine,
    declared: Mapping[str, Deployment],
    estimator: Estimator,
    *,
    ledger: Outstanding | None = None,
    observe: Observe | None = None,
    mirror: "Mirror | None" = None,
) -> Dispatcher:
    """The dispatcher of a gateway; `estimator` learns from its calls.

    ledger: not given, it keeps its own. mirror: not given, the one that the environment names.
    """
    foresight = Foresight(
        ledger or OutstandingHere(_slots(declared)), estimator, declared, Marks(settings.burst_after_s, settings.burst_dwell_s)
    )
    bursts = _bursts(settings, cluster, engine, estimator, mirror) if settings.burst == "on" else None
    return Dispatcher(cluster, foresight, bursts, observe)


def _bursts(settings: Settings, cluster: Cluster, engine: Engine, estimator: Estimator, mirror: "Mirror | None") -> "Bursts":
    from modal_burst.backend import ModalBackend
    from serve.burst import Bursts

    access = BurstSettings()
    prices = Prices(settings.rates, access.burst_idle_s)
    mirror = mirror or ModalBackend(access)
    return Bursts(mirror, cluster, Budget(engine, _caps(settings)), estimator, prices, max_containers=access.burst_max_containers)


def fallbacks(settings: Settings, engine: Engine, fetcher: Fetcher | None = None) -> Fallbacks | None:
    """Where calls of this gateway may go when neither the cluster nor the mirror will do; None when nothing is set up."""
    backends: dict[str, Runs] = {}
    bounds = {"request_s": settings.fallback_request_s, "silence_s": settings.fallback_silence_s}
    if settings.fal_key:
        from serve.fal import FalBackend

        backends[FAL] = FalBackend(settings.fal_key, fetcher or Fetcher(), **bounds)
    if settings.comfyui_url:
        from serve.comfyui import ComfyBackend
        from serve.comfyui_line import Pod

        pod = Pod(settings.comfyui_url, settings.comfyui_token, request_s=settings.fallback_request_s)
        rate = settings.rates.get(settings.comfyui_card, max(settings.rates.values()))
        longest_s, silence_s = settings.fallback_s, settings.fallback_silence_s
        backends[COMFYUI] = ComfyBackend(pod, settings.comfyui_card, rate, longest_s=longest_s, silence_s=silence_s)
    return Fallbacks(backends, Budget(engine, _caps(settings)), longest_s=settings.fallback_s) if backends else None


def _caps(settings: Settings) -> Caps:
    """What everything that runs outside may cost: the mirror and the fallbacks together, since they share the database."""
    return Caps(
        per_call=settings.burst_usd_per_call,
        per_minute=settings.burst_usd_per_minute,
        per_day=settings.burst_usd_per_day,
        per_tenant_day=settings.burst_usd_per_tenant_day,
        calls=settings.burst_calls,
    )


def _slots(declared: Mapping[str, Deployment]) -> Callable[[str], int]:
    """Calls that a deployment's replicas run at once, as many as it declares at least."""
    return lambda name: max(1, declared[name].replicas.min) * declared[name].concurrency
