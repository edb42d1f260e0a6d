"""Watches the mirror's pools while calls are out: how soon a container is free there, and calls that are nobody's."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Final

from modal_burst.backend import BurstBackend, Headroom
from modal_burst.pools import Pool
from serve.budget import BEAT_S, Budget

log = logging.getLogger("ryla.burst")

WARM_S: Final = 0.3  # what a call waits for a container that is up and free
LOOK_S: Final = 3.0  # between two looks at a pool's load
FRESH_S: Final = 4 * LOOK_S


@dataclass(frozen=True, slots=True)
class Seen:
    """A pool's load at a moment, and the calls there that are nobody's."""

    load: Headroom
    strays: int
    at: float


class PoolWatch:
    """Looks at the pools that have calls out, and some time longer; keeps the leases alive meanwhile."""

    def __init__(self, mirror: BurstBackend, budget: Budget, max_containers: int) -> None:
        self._mirror = mirror
        self._budget = budget
        self._max_containers = max_containers
        self._seen: dict[str, Seen] = {}
        self._out: dict[Pool, int] = {}
        self._task: asyncio.Task[None] | None = None

    def sent(self, of: Pool) -> None:
        """A call goes out."""
        self._out[of] = self._out.get(of, 0) + 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())

    def back(self, of: Pool) -> None:
        """A call has ended."""
        self._out[of] -= 1

    def strays(self) -> int:
        """Calls that run or wait on the mirror and that no lease knows, such as those of a gateway that died."""
        return sum(seen.strays for seen in self._seen.values() if time.monotonic() - seen.at < FRESH_S)

    def open_s(self, of: Pool, service_s: float) -> float | None:
        """Seconds until a container that is up takes a call; None when one must be started."""
        seen = self._seen.get(of.key)
        if seen is None or time.monotonic() - seen.at > FRESH_S:
            return None
        load, most = seen.load, self._max_containers * of.concurrency
        busy = max(load.running + load.waiting, self._out.get(of, 0))
        if busy < load.containers * of.concurrency:
            return WARM_S
        return None if busy < most else WARM_S + (busy - most + 1) / most * service_s

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _look(self) -> None:
        beaten, last_out = 0.0, time.monotonic()
        while time.monotonic() - last_out < FRESH_S:
            for of, out in list(self._out.items()):
                if out:
                    last_out = time.monotonic()
                await self._look_at(of)
            if time.monotonic() - beaten > BEAT_S:
                beaten = time.monotonic()
                await self._beat()
            await asyncio.sleep(LOOK_S)

    async def _look_at(self, of: Pool) -> None:
        try:
            load = await self._mirror.headroom(of)
            leased = await self._budget.out(of.key)
        except Exception:
            log.debug("the load of %s could not be read", of.key, exc_info=True)
            return
        self._seen[of.key] = Seen(load, max(0, load.running + load.waiting - leased), time.monotonic())

    async def _beat(self) -> None:
        try:
            await self._budget.beat()
        except Exception:
            log.exception("the leases of calls that are out could not be renewed")
