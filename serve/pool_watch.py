"""Watches the mirror's pools while calls are out: how soon a container is free there, and calls that are nobody's."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Final

from modal_burst.backend import BurstBackend, Headroom
from modal_burst.pools import Pool
from serve.outgoing import Outgoing

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
    """Looks at the pools that have calls out, and some time longer."""

    def __init__(self, mirror: BurstBackend, outgoing: Outgoing, max_containers: int) -> None:
        self._mirror = mirror
        self._outgoing = outgoing
        self._max_containers = max_containers
        self._seen: dict[str, Seen] = {}
        self._pools: set[Pool] = set()
        self._task: asyncio.Task[None] | None = None

    def follow(self, of: Pool) -> None:
        """A call goes out to a pool."""
        self._pools.add(of)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())

    def strays(self) -> int:
        """Calls that run or wait on the mirror and that no lease knows, such as those of a gateway that died."""
        return sum(seen.strays for seen in self._seen.values() if time.monotonic() - seen.at < FRESH_S)

    def open_s(self, of: Pool, service_s: float) -> float | None:
        """Seconds until a container that is up takes a call; None when one must be started."""
        seen = self._seen.get(of.key)
        if seen is None or time.monotonic() - seen.at > FRESH_S:
            return None
        load, most = seen.load, self._max_containers * of.concurrency
        busy = max(load.running + load.waiting, self._outgoing.out[of.key])
        if busy < load.containers * of.concurrency:
            return WARM_S
        return None if busy < most else WARM_S + (busy - most + 1) / most * service_s

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _look(self) -> None:
        last_out = time.monotonic()
        while time.monotonic() - last_out < FRESH_S:
            for of in list(self._pools):
                if self._outgoing.out[of.key]:
                    last_out = time.monotonic()
                await self._look_at(of)
            await asyncio.sleep(LOOK_S)

    async def _look_at(self, of: Pool) -> None:
        try:
            load = await self._mirror.headroom(of)
            leased = await self._outgoing.budget.out(of.key)
        except Exception:
            log.debug("the load of %s could not be read", of.key, exc_info=True)
            return
        self._seen[of.key] = Seen(load, max(0, load.running + load.waiting - leased), time.monotonic())
