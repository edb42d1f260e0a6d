"""The `cluster` backend: runs plans on this Ray cluster's replicas, through Serve handles."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol, TypeAlias, cast

from ray.serve.handle import DeploymentHandle

from deployments.spec.endpoint import Plan, Stage
from models.host import Event, Result
from models.runner import Finished, FrameEvent
from serve.estimator import HERE
from serve.faults import ray_faults

Handle: TypeAlias = "DeploymentHandle[Any]"


class FindsHandles(Protocol):
    """Finds the handle of a deployment by its name."""

    async def __call__(self, deployment: str) -> Handle:
        """The handle; the same one each time. Raises NoPlace, or Overloaded while its app is not up."""
        ...


class ClusterBackend:
    """Runs plans on the replicas that `handles` finds."""

    name = "cluster"

    def __init__(self, handles: FindsHandles) -> None:
        self._handles = handles

    async def run(self, plan: Plan, *, deadline: float | None, first: str = HERE) -> AsyncGenerator[Event, None]:
        """Run `plan` where its last stage lives; that replica pulls the frames of those before.

        first: where the first of several stages runs, here or on the mirror. Yields Progress and, last, one Result.
        """
        last = plan.stages[-1]
        for stage in plan.stages[0 if first == HERE else 1 : -1]:
            await self._handles(stage.deployment)  # a chain does not begin unless each of its models is here
        handle = (await self._handles(last.deployment)).options(stream=True, multiplexed_model_id=last.affinity or "")
        async with aclosing(pull(handle.produce.remote(plan, deadline, first), Result)) as events:
            async for event in events:
                yield cast(Event, event)

    async def frames(self, stages: tuple[Stage, ...], *, deadline: float | None, first: str = HERE) -> AsyncGenerator[FrameEvent, None]:
        """Run the stages and yield the last one's frames as they are made; then its Finished."""
        last = stages[-1]
        handle = (await self._handles(last.deployment)).options(stream=True, multiplexed_model_id=last.affinity or "")
        async with aclosing(pull(handle.frames.remote(stages, deadline, first), Finished)) as events:
            async for event in events:
                yield cast(FrameEvent, event)


async def pull(response: Any, last: type) -> AsyncGenerator[Any, None]:
    """The items of a streaming Serve response, to the first of type `last`: its end comes later, and nobody need wait for it.

    Closing it before that cancels the call where it runs.
    """
    items = cast(AsyncIterator[Any], response)
    done = False
    try:
        with ray_faults():
            async for item in items:
                done = isinstance(item, last)
                yield item
                if done:
                    return
    finally:
        if not done:
            response.cancel()
