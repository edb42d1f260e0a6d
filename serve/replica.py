"""The one Serve deployment class: a process that holds one declared model and runs plans on it."""

import logging
import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import ray

from deployments.spec.deployment import Deployment
from deployments.spec.endpoint import Plan, Stage
from deployments.spec.stores import lora_files, lora_stack, weight_store
from modal_burst.manifest import model_version
from models.acceleration import card_name, compiles, default_device, limit_memory
from models.errors import OutOfMemory
from models.host import Event, Result, RunnerHost
from models.lora.holding import held
from models.runner import Card, Finished, FrameEvent
from models.weights import Loading, folders
from serve.affinity import held_parts
from serve.apps import Handles
from serve.cluster import ClusterBackend
from serve.estimator import HERE
from serve.first_halves import FirstHalves
from serve.replica_metrics import ReplicaMetrics
from serve.settings import Settings

log = logging.getLogger("ryla.replica")


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """A look into a replica: its process, the calls it is working on, and since its start the steps by stage and LoRAs by tier."""

    pid: int
    running: int
    steps: dict[str, int]
    loras: dict[str, int]


class Replica:
    """Holds the model of one declared deployment. Built by Serve, once a process."""

    def __init__(self, declared: Deployment, settings: Settings) -> None:
        began = time.perf_counter()
        share = _share_of_card()
        store = weight_store(settings)
        device = default_device()
        limit_memory(share, device)
        files = folders(store, declared.weights)
        self._loras = lora_stack(declared, files, settings, device)
        loading = Loading(files, device, settings.safety, compiles(settings.compiled, device))
        runner = declared.load(loading, self._loras)
        if self._loras is not None:
            lora_files(settings).publish_base(declared.name, self._loras.base)
        card = Card(card_name(), share)
        self._host = RunnerHost(runner, declared.concurrency, card, batch=declared.batch, sealer=settings.sealer())
        self._upstream = ClusterBackend(Handles())
        self._version = model_version(declared, settings.profile)
        self._first_halves = FirstHalves()
        self._sick: str | None = None
        self._metrics = ReplicaMetrics(declared.name, self._host, self._loras, began)
        self._metrics.start()

    async def produce(self, plan: Plan, deadline: float | None, first: str = HERE) -> AsyncGenerator[Event, None]:
        """Run the plan's last stage here and encode it, on the frames of those before, if any."""
        upstream = self._before(plan.stages, deadline, first)
        task = plan.stages[-1].task
        try:
            with self._metrics.call() as watch:
                async with (
                    held(self._loras, task) as facts,
                    aclosing(self._host.produce(task, plan.encoding, deadline=deadline, upstream=upstream)) as events,
                ):
                    watch.loras(facts)
                    async for event in events:
                        if isinstance(event, Result):
                            event.stages[-1].facts.update(facts, model_version=self._version)
                        watch.saw(event)
                        yield event
        except OutOfMemory as error:
            self._sick = error.message
            raise

    async def frames(self, stages: tuple[Stage, ...], deadline: float | None, first: str = HERE) -> AsyncGenerator[FrameEvent, None]:
        """Run the last of the stages here, on the frames of those before, if any, and yield its frames as they are made."""
        upstream = self._before(stages, deadline, first)
        task = stages[-1].task
        try:
            with self._metrics.call() as watch:
                async with (
                    held(self._loras, task) as facts,
                    aclosing(self._host.frames(task, deadline=deadline, upstream=upstream)) as events,
                ):
                    watch.loras(facts)
                    async for event in events:
                        if isinstance(event, Finished):
                            event.facts.update(facts, model_version=self._version)
                        watch.saw(event)
                        yield event
        except OutOfMemory as error:
            self._sick = error.message
            raise

    def _before(self, stages: tuple[Stage, ...], deadline: float | None, first: str) -> AsyncGenerator[FrameEvent, None] | None:
        """The frames that the last of the stages works on, pulled from wherever the one before it runs; None when there is none."""
        if len(stages) == 1:
            return None
        if len(stages) == 2 and first != HERE:
            return self._first_halves.frames(stages[0], deadline=deadline)
        return self._upstream.frames(stages[:-1], deadline=deadline, first=first)

    def state(self) -> ReplicaState:
        """What this process is doing right now."""
        found = dict(self._loras.tiers.found) if self._loras is not None else {}
        return ReplicaState(os.getpid(), self._host.running, dict(self._host.steps), found)

    def record_routing_stats(self) -> dict[str, list[str]]:
        """Called by Serve: the LoRAs and checkpoints in memory, so that the routers of all gateways agree on where they are."""
        return {"held": held_parts(self._host.runner, self._loras.tiers.kept() if self._loras is not None else ())}

    def check_health(self) -> None:
        """Called by Serve: a card that ran out of memory is fragmented for good, so the process asks to be replaced."""
        if self._sick is not None:
            raise RuntimeError(self._sick)


def _share_of_card() -> float:
    """The part of a card that Ray counts as this process's, so that what is enforced is what was placed; 1 where there are no cards."""
    return float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0)) or 1.0
