"""Builds the Serve applications from the declarations.

`serve run serve.app:build` starts everything as one app for local work; `serve deploy serve/config/production.yaml` starts an app a family
of models (`family`) and the `gateway`, on the cards that `python -m deployments.plan` chose.
"""

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import ray
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from ray import serve as ray_serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig
from ray.serve.schema import ServeStatus

from deployments import answered, deployments, retired
from deployments.plan.serve_config import GATEWAY, REPLICA_CPUS
from deployments.spec.deployment import Deployment
from deployments.spec.stores import lora_files
from models.acceleration import openmp
from models.errors import NoPlace, NotConfigured
from serve.apps import Handles, app_of, handle_of, wait_for_cards
from serve.call_metrics import CallMetrics
from serve.calls import Calls
from serve.cluster import ClusterBackend, Handle
from serve.consent import ConsentRule
from serve.ingress import Api, create_app
from serve.jobs import Jobs
from serve.ledger import SharedLedger
from serve.lora_router import lora_routing
from serve.loras import Loras
from serve.placement import dispatcher, estimator_of, fallbacks
from serve.replica import Replica
from serve.settings import Settings

LAPTOP_CPUS = 0.1  # a replica's share of a core where there is no GPU to pin: it is bookkeeping, so that all fit on two cores
LAPTOP_IDLE_S = 180.0
MAX_BACKOFF_S = 0.05  # the router's pause between looks at full replicas; the default of half a second idles the GPU


class Arguments(BaseModel):
    """Arguments of `serve run serve.app:build name=value`."""

    model_config = ConfigDict(extra="forbid")

    models: str | None = None


def build(arguments: Arguments) -> Application:
    """All declared deployments (or those in `models=a,b`) and the gateway, as one application."""
    settings = Settings()
    if arguments.models is not None:
        settings = settings.model_copy(update={"models": tuple(arguments.models.split(","))})
    return application(settings, chosen_deployments(settings))


class FamilyArguments(BaseModel):
    """Arguments of a family's app. cards_ahead: cards that the apps before it take; see `wait_for_cards`."""

    model_config = ConfigDict(extra="forbid")

    models: list[str]
    cards_ahead: float = 0.0


def family(arguments: FamilyArguments) -> Application:
    """One family's deployments, as one application."""
    settings = Settings()
    wait_for_cards(arguments.cards_ahead)
    on_gpu = _cards_in_cluster() > 0
    return Family.bind(*(replica_application(deployments()[name], settings, on_gpu=on_gpu) for name in arguments.models))


class GatewayArguments(BaseModel):
    """Arguments of the gateway's app.

    models: those whose endpoints answer. served: those of them that have a place on the cluster. shared: whether gateways share a ledger.
    """

    model_config = ConfigDict(extra="forbid")

    models: list[str]
    served: list[str]
    shared: bool = False


def gateway(arguments: GatewayArguments) -> Application:
    """The gateway alone. The models are in apps of their own, and may come and go. One that is replaced ends its calls first."""
    settings = Settings()
    ends_its_calls = Gateway.options(graceful_shutdown_timeout_s=settings.max_seconds)
    return ends_its_calls.bind(settings, arguments.models, arguments.served, arguments.shared)


def application(settings: Settings, chosen: Sequence[Deployment]) -> Application:
    """The gateway and a Serve deployment for each of `chosen`, on GPUs where the cluster has any."""
    on_gpu = _cards_in_cluster() > 0
    replicas = [replica_application(deployment, settings, on_gpu=on_gpu) for deployment in chosen]
    names = [d.name for d in chosen]
    return Gateway.bind(settings, names, names, False, *replicas)


def chosen_deployments(settings: Settings) -> list[Deployment]:
    """The deployments to serve. Raises ValueError for a name that nobody declares."""
    known = deployments()
    unknown = set(settings.models) - set(known)
    if unknown:
        raise ValueError(f"RYLA_MODELS names {sorted(unknown)}; declared are {sorted(known)}")
    return [known[name] for name in settings.models or known]


def replica_application(declared: Deployment, settings: Settings, *, on_gpu: bool) -> Application:
    """One deployment's Serve deployment. Two calls at once: the next one's input is ready when the GPU falls free."""
    share = next(iter(declared.gpu.share.values()))
    options: dict[str, Any] = {"num_cpus": REPLICA_CPUS, "num_gpus": share} if on_gpu else {"num_cpus": LAPTOP_CPUS}
    options["runtime_env"] = {"env_vars": openmp(REPLICA_CPUS if on_gpu else len(os.sched_getaffinity(0)))}
    deployment = ray_serve.deployment(
        name=declared.name,
        **_count(declared, settings, on_gpu=on_gpu),
        max_ongoing_requests=max(declared.concurrency + 1, 2 * declared.batch if declared.batch > 1 else 0),
        ray_actor_options=options,
        graceful_shutdown_timeout_s=declared.replicas.longest_s if on_gpu else 20,
        request_router_config=RequestRouterConfig.model_validate({"max_backoff_s": MAX_BACKOFF_S} | lora_routing(declared)),
        health_check_timeout_s=60,
    )(Replica)
    return deployment.bind(declared, settings)


def _count(declared: Deployment, settings: Settings, *, on_gpu: bool) -> dict[str, Any]:
    """How many replicas. On a laptop, models that were neither chosen by name nor are kept up start at their first call, to save memory."""
    if on_gpu or settings.models or declared.replicas.kept_on_laptop:
        return {"num_replicas": max(1, declared.replicas.min)}
    return {"autoscaling_config": {"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1, "downscale_to_zero_delay_s": LAPTOP_IDLE_S}}


def _cards_in_cluster() -> float:
    return float(ray.cluster_resources().get("GPU", 0)) if ray.is_initialized() else 0.0


@ray_serve.deployment(name="family", ray_actor_options={"num_cpus": LAPTOP_CPUS, "runtime_env": {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}})
class Family:
    """The entrance that Serve wants an app to have. Nobody calls it; a model cannot be it, for behind HAProxy entrances have no router."""

    def __init__(self, *models: Handle) -> None:
        del models  # given so that they are part of the app


@ray_serve.deployment(name=GATEWAY, max_ongoing_requests=200, ray_actor_options={"num_cpus": LAPTOP_CPUS})
@ray_serve.ingress()  # pyright: ignore[reportUntypedClassDecorator]
class Gateway:
    """The ingress: a CPU-only process that holds no model.

    names: models whose endpoints answer. served: those of them that have a place here. beside: replicas of the same app, to start with it.
    """

    def __init__(self, settings: Settings, names: Iterable[str], served: Iterable[str], shared: bool, *beside: Handle) -> None:
        logging.getLogger("ryla").setLevel(settings.log_level)
        self._settings = settings
        self._names, self._served = tuple(names), frozenset(served)
        self._ledger = SharedLedger() if shared else None

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The FastAPI app, built where the handles are."""
        settings = self._settings
        served = {path: e for path, e in answered(settings.serve_retired).items() if set(e.deployments) <= set(self._names)}
        jobs = Jobs(settings.database_url)
        known = {name: deployments()[name] for name in self._names}
        handles = Handles(self._handle)

        async def wake(name: str) -> None:
            await (await handles(name)).state.remote()

        loras = Loras(jobs.engine, lora_files(settings), known, settings.max_lora_bytes, wake)
        estimator = estimator_of(settings, known)
        metrics = CallMetrics(known, settings.rates, estimator)
        metrics.start()
        outside = fallbacks(settings, jobs.engine)
        if settings.burst == "on" or outside is not None:
            metrics.burst_caps(settings.burst_usd_per_minute, settings.burst_usd_per_day)
        cluster = ClusterBackend(handles)
        placed = dispatcher(settings, cluster, jobs.engine, known, estimator, ledger=self._ledger, observe=metrics.decided)
        consent = ConsentRule(settings.requires_consent, settings.consenting_tenants)
        calls = Calls(placed, jobs, settings.rates, metrics, loras, outside, consent)
        return create_app(Api(served, deployments(), calls, settings, self._readiness, retired()))

    def _handle(self, name: str) -> Handle:
        if name not in self._names:
            raise NotConfigured(f"the model {name!r} is not served here; served are {', '.join(self._names)}")
        if name not in self._served:
            raise NoPlace(f"no card of this cluster has room for the model {name!r}")
        return handle_of(name)

    async def _readiness(self) -> dict[str, bool]:
        status = await asyncio.to_thread(ray_serve.status)
        here = ray_serve.get_replica_context().app_name
        return {name: _is_up(status, app_of(name, here), name) for name in self._names if name in self._served}


def _is_up(status: ServeStatus, app: str, name: str) -> bool:
    """Whether a replica runs, or starts when it is called."""
    found = status.applications[app].deployments.get(name) if app in status.applications else None
    if found is None:
        return False
    states = cast(Mapping[str, int], found.replica_states)
    return states.get("RUNNING", 0) > 0 or found.status.value == "HEALTHY"
