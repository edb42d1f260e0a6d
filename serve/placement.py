"""Builds a gateway's dispatcher from its settings."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import Engine

from deployments.spec.deployment import Deployment
from modal_burst.settings import BurstSettings
from serve.budget import Budget, Caps
from serve.dispatch import Cluster, Dispatcher, Observe
from serve.estimator import Estimator
from serve.foresight import Foresight, Marks
from serve.outstanding import OutstandingHere
from serve.overflow import Outstanding
from serve.prices import Prices
from serve.settings import Settings

if TYPE_CHECKING:
    from serve.burst import Bursts, Mirror

TINY_FACTOR: Final = 0.02  # the toy models take about this part of what the declarations expect of the full ones


def dispatcher(
    settings: Settings,
    cluster: Cluster,
    engine: Engine,
    declared: Mapping[str, Deployment],
    *,
    ledger: Outstanding | None = None,
    observe: Observe | None = None,
    mirror: "Mirror | None" = None,
) -> Dispatcher:
    """The dispatcher of a gateway. ledger: not given, it keeps its own; mirror: not given, the one that the environment names."""
    estimator = Estimator(declared, TINY_FACTOR if settings.profile == "tiny" else 1.0)
    foresight = Foresight(
        ledger or OutstandingHere(_slots(declared)), estimator, declared, Marks(settings.burst_after_s, settings.burst_dwell_s)
    )
    bursts = _bursts(settings, cluster, engine, estimator, mirror) if settings.burst == "on" else None
    return Dispatcher(cluster, foresight, bursts, observe)


def _bursts(settings: Settings, cluster: Cluster, engine: Engine, estimator: Estimator, mirror: "Mirror | None") -> "Bursts":
    from modal_burst.backend import ModalBackend
    from serve.burst import Bursts

    access = BurstSettings()
    caps = Caps(
        per_call=settings.burst_usd_per_call,
        per_minute=settings.burst_usd_per_minute,
        per_day=settings.burst_usd_per_day,
        per_tenant_day=settings.burst_usd_per_tenant_day,
        calls=settings.burst_calls,
    )
    prices = Prices(settings.rates, access.burst_idle_s)
    mirror = mirror or ModalBackend(access)
    return Bursts(mirror, cluster, Budget(engine, caps), estimator, prices, max_containers=access.burst_max_containers)


def _slots(declared: Mapping[str, Deployment]) -> Callable[[str], int]:
    """Calls that a deployment's replicas run at once, as many as it declares at least."""
    return lambda name: max(1, declared[name].replicas.min) * declared[name].concurrency
