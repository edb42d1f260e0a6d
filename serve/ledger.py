"""The ledger of outstanding work that all gateways share: one actor, asked by each of them and by the autoscaling policies.

Its state is soft: after a crash it starts empty and fills with the next calls. A gateway that dies leaves calls behind, which are forgotten
once it has been silent for SILENT_S.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from threading import Lock, Thread
from typing import Any, Final

import ray
from ray import serve as ray_serve

from deployments import deployments
from serve.outstanding import OutstandingHere

log = logging.getLogger("ryla.ledger")

NAME, NAMESPACE = "ryla-outstanding-1", "ryla"  # another number when its methods change: it outlives the apps that call it
BEAT_S: Final = 5.0
SILENT_S: Final = 4 * BEAT_S
LOOK_S: Final = 0.5
STALE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """Work of one deployment that is accepted and not done: predicted seconds, calls, and how many of these have begun."""

    seconds: float = 0.0
    calls: int = 0
    begun: int = 0


class Ledger:
    """What the actor holds. `slots` tells how many calls of a deployment run at once."""

    def __init__(self, slots: Callable[[str], int] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._replicas = Replicas() if slots is None else None
        self._lines = OutstandingHere(self._replicas.slots if self._replicas is not None else slots or (lambda _: 1), clock)
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._leases: dict[str, set[str]] = {}

    async def admit(self, gateway: str, deployment: str, seconds: float) -> str:
        """Take a call of a gateway into the line. Returns its lease."""
        self.beat(gateway)
        lease = await self._lines.admit(deployment, seconds)
        self._leases.setdefault(gateway, set()).add(lease)
        return lease

    async def done(self, gateway: str, lease: str) -> None:
        """The call has ended."""
        self._leases.get(gateway, set()).discard(lease)
        await self._lines.done(lease)

    async def seconds_ahead(self, deployment: str, lease: str | None = None) -> float:
        """Predicted seconds until a new call, or the one of `lease`, would begin."""
        await self._forget_the_silent()
        return await self._lines.seconds_ahead(deployment, lease)

    async def backlog(self) -> dict[str, Backlog]:
        """What is outstanding, by deployment; those without any are left out."""
        await self._forget_the_silent()
        return {name: Backlog(*line) for name, line in self._lines.backlog().items()}

    def beat(self, gateway: str) -> None:
        """A gateway says that it lives."""
        self._heard[gateway] = self._clock()

    async def _forget_the_silent(self) -> None:
        for gateway in [name for name, at in self._heard.items() if self._clock() - at > SILENT_S]:
            del self._heard[gateway]
            for lease in self._leases.pop(gateway, set()):
                await self._lines.done(lease)


class Replicas:
    """Counts the replicas that run, in the background, and so the calls that run at once."""

    def __init__(self) -> None:
        self._running: dict[str, int] = {}
        Thread(target=self._look, name="replicas", daemon=True).start()

    def slots(self, deployment: str) -> int:
        """Calls of a deployment that run at once, as if one replica ran where none does yet."""
        declared = deployments().get(deployment)
        return max(1, self._running.get(deployment, 0)) * (1 if declared is None else declared.concurrency)

    def _look(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # no Serve, for now
                apps = ray_serve.status().applications.values()
                self._running = {
                    name: states.get("RUNNING", 0)
                    for app in apps
                    for name, found in app.deployments.items()
                    if (states := {str(getattr(state, "value", state)): count for state, count in found.replica_states.items()})
                }
            time.sleep(2 * LOOK_S)


class SharedLedger:
    """A gateway's side: the protocol `Outstanding`, answered by the actor."""

    def __init__(self, actor: Any = None) -> None:
        self._actor = actor or start()
        self._gateway = uuid.uuid4().hex
        self._beating: asyncio.Task[None] | None = None

    async def seconds_ahead(self, deployment: str, lease: str | None = None) -> float:
        """Predicted seconds until a new call, or the one of `lease`, would begin."""
        return await self._actor.seconds_ahead.remote(deployment, lease)

    async def admit(self, deployment: str, seconds: float) -> str:
        """Take a call into the line. Returns its lease."""
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())
        return await self._actor.admit.remote(self._gateway, deployment, seconds)

    async def done(self, lease: str) -> None:
        """The call has ended."""
        await self._actor.done.remote(self._gateway, lease)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            with contextlib.suppress(Exception):
                await self._actor.beat.remote(self._gateway)


def start() -> Any:
    """The cluster's ledger, started if it does not run. It takes no resources and comes back by itself."""
    options: dict[str, Any] = {"name": NAME, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    return ray.remote(Ledger).options(**options, max_restarts=-1, max_task_retries=1, num_cpus=0).remote()


class Feed:
    """The ledger's backlog, fetched in the background: for callers that must not wait, such as autoscaling policies."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seen: tuple[float, Mapping[str, Backlog]] | None = None
        Thread(target=self._follow, name="backlog", daemon=True).start()

    def backlog(self, deployment: str) -> Backlog | None:
        """What is outstanding for a deployment; None when the ledger has not answered of late."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] > STALE_S:
                return None
            return self._seen[1].get(deployment, Backlog())

    def _follow(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # it does not run yet, or is being replaced
                found: Any = ray.get(ray.get_actor(NAME, NAMESPACE).backlog.remote(), timeout=STALE_S)
                with self._lock:
                    self._seen = (time.monotonic(), found)
            time.sleep(LOOK_S)


@cache
def feed() -> Feed:
    """The process's feed; one for all its policies."""
    return Feed()
