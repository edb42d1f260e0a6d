"""First stages of chains on the mirror, as a replica pulls their frames: straight from there, compressed, once."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from deployments.spec.endpoint import Stage
from models.runner import Finished, FrameEvent
from serve.prices import with_cold_start

if TYPE_CHECKING:
    from modal_burst.backend import ModalBackend, Report

CONNECT_S = 10.0


class FirstHalves:
    """A line to the mirror of the replica's own, opened at the first chain that needs it."""

    def __init__(self) -> None:
        self._mirror: ModalBackend | None = None

    async def frames(self, stage: Stage, *, deadline: float | None) -> AsyncGenerator[FrameEvent, None]:
        """Run a stage there and yield its frames; the last item is a Finished, which tells of a container that was started for it."""
        mirror, told, last = await self._connected(), list["Report"](), list[Finished]()
        async with aclosing(mirror.frames(stage, deadline=deadline, observe=told.append)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    last.append(event)  # held back until the call is over and told of
                else:
                    yield event
        for finished in last:
            yield with_cold_start(finished, told[0])

    async def _connected(self) -> "ModalBackend":
        from modal_burst.backend import ModalBackend
        from modal_burst.settings import BurstSettings

        if self._mirror is None:
            self._mirror = ModalBackend(BurstSettings())
            await self._mirror.start()
        await self._mirror.settled(CONNECT_S)
        return self._mirror
