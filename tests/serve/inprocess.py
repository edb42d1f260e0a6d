"""A backend that runs plans in this process on real runners: the API without Ray, for tests."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from deployments import deployments
from deployments.spec.endpoint import Plan
from models.host import Event, RunnerHost
from models.tiny import TinyStore
from models.weights import Loading, folders
from serve.estimator import HERE
from serve.first_halves import FirstHalves


class InProcess:
    """Loads each deployment on first use and keeps it."""

    name = "cluster"

    def __init__(self, weights: Path) -> None:
        self._store = TinyStore(weights)
        self._first_halves = FirstHalves()
        self._hosts: dict[str, RunnerHost] = {}

    def host(self, name: str) -> RunnerHost:
        if name not in self._hosts:
            declared = deployments()[name]
            files = folders(self._store, declared.weights)
            self._hosts[name] = RunnerHost(declared.load(Loading(files), None), declared.concurrency)
        return self._hosts[name]

    async def run(self, plan: Plan, *, deadline: float | None, first: str = HERE) -> AsyncGenerator[Event, None]:
        upstream = None
        for stage in plan.stages[:-1]:
            if upstream is None and first != HERE:
                upstream = self._first_halves.frames(stage, deadline=deadline)
            else:
                upstream = self.host(stage.deployment).frames(stage.task, deadline=deadline, upstream=upstream)
        host = self.host(plan.stages[-1].deployment)
        async with aclosing(host.produce(plan.stages[-1].task, plan.encoding, deadline=deadline, upstream=upstream)) as events:
            async for event in events:
                yield event
