"""The line to the mirror: connected off the request path, tried while calls are out, and replaced when it is dead."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import modal
from modal.client import Client

from modal_burst.faults import bad_manifest, kind_of, translated
from modal_burst.manifest import manifest
from modal_burst.pickle_guard import refuse_pickles
from modal_burst.pools import Pool, pools
from modal_burst.settings import BurstSettings
from modal_burst.waits import within
from models.errors import BackendFailed, FaultKind, NotConfigured, RylaError

log = logging.getLogger("ryla.burst")

CLASS_NAME: Final = "MirrorContainer"
MISSES: Final = 2  # unanswered tries in a row after which the line is dead
FIRST_PAUSE_S: Final = 0.5
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Session:
    """One connection. `dead`: it does not work, and its calls are lost; `fault` says why. `stale`: new calls need another one."""

    client: Client
    bind: Callable[[Pool], Any]
    handles: dict[str, Any] = field(default_factory=dict[str, Any])  # by the pool's key
    calls: int = 0
    dead: asyncio.Event = field(default_factory=asyncio.Event)
    stale: asyncio.Event = field(default_factory=asyncio.Event)
    fault: RylaError | None = None

    def containers(self, pool: Pool) -> Any:
        """The handle of a pool's containers; one that was not declared is bound at its first call."""
        if pool.key not in self.handles:
            self.handles[pool.key] = self.bind(pool)
        return self.handles[pool.key]

    @contextmanager
    def call(self) -> Generator[None]:
        """While this is open a call is out, and the line is tried now and then."""
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1

    def lost(self) -> RylaError:
        """Why its calls are lost, as an error of each call's own."""
        fault = self.fault or BackendFailed("the line was lost", None, FaultKind.INFRA)
        return type(fault)(*fault.args)

    def end(self, fault: RylaError) -> None:
        """Give this connection up."""
        if not self.dead.is_set():
            self.fault = fault
            self.dead.set()
            self.stale.set()


class Line:
    """Keeps a session. Calls fail at once while there is none."""

    def __init__(self, settings: BurstSettings) -> None:
        self._settings = settings
        self._session: Session | None = None
        self._fault: RylaError = BackendFailed("the line to the mirror is not up yet", 1.0, FaultKind.INFRA)
        self._changed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._renewed: dict[Session, asyncio.Task[None]] = {}  # sessions that are not used for new calls, each until it is idle

    async def start(self) -> None:
        """Begin to connect, in the background.

        Sets two of the client library's settings for this process: cbor, and errors at once when throttled instead of waiting.
        """
        modal.config.config.override_locally("payload_format", "cbor")
        modal.config.config.override_locally("max_throttle_wait", "0")
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Hang up."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        for session in [self._session, *self._renewed]:
            if session is not None:
                session.end(BackendFailed("this side is shutting down", None, FaultKind.INFRA))
        await asyncio.gather(*self._renewed.values(), *([self._release(self._session)] if self._session else []))

    @property
    def fault(self) -> RylaError | None:
        """Why no call can be sent now; None when one can."""
        return None if self._session is not None else self._fault

    def session(self) -> Session:
        """The connection in use. Raises the reason when there is none: BackendFailed or NotConfigured."""
        if self._session is None:
            raise type(self._fault)(*self._fault.args)
        return self._session

    async def settled(self, timeout_s: float) -> bool:
        """Wait until a first try has ended; say whether there is a connection."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return False
        return self._session is not None

    async def bounded(self, work: Awaitable[T]) -> T:
        """`work` within the longest that one request may take; its error as one of ours."""
        try:
            return await within(self._settings.burst_request_s, work)
        except TimeoutError as error:
            raise BackendFailed(
                f"the platform did not answer within {self._settings.burst_request_s:g} s", None, FaultKind.INFRA
            ) from error
        except Exception as error:
            raise translated(error) from error

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                session = self._session = await self._connect()
            except Exception as error:
                self._down(translated(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._settings.burst_reconnect_s)
                continue
            log.info("the line to the mirror is up")
            pause = FIRST_PAUSE_S
            self._changed.set()
            await self._watch(session)
            self._down(session.fault or BackendFailed("the line to the mirror is being renewed", 1.0, FaultKind.INFRA))
            self._renewed[session] = asyncio.create_task(self._release_when_idle(session))

    def _down(self, fault: RylaError) -> None:
        self._session, self._fault = None, fault
        self._changed.set()
        log.warning("no line to the mirror (%s): %s", kind_of(fault), fault.message)

    async def _connect(self) -> Session:
        settings = self._settings
        if not settings.token_id or not settings.token_secret:
            raise NotConfigured("MODAL_TOKEN_ID and MODAL_TOKEN_SECRET are not set, so nothing can burst to the mirror")
        client = await self.bounded(Client.from_credentials.aio(settings.token_id, settings.token_secret))
        base = modal.Cls.from_name(settings.mirror_app, CLASS_NAME, environment_name=settings.mirror_environment, client=client)
        session = Session(client, lambda pool: self._containers(base, pool))
        try:
            refuse_pickles(client)
            await self._check_manifest(client)
            await self.bounded(base.hydrate.aio())
            handles = [session.containers(pool) for pool in pools().values()]
            await asyncio.gather(*(self.bounded(handle.produce.hydrate.aio()) for handle in handles))
        except BaseException:
            await self._release(session)
            raise
        return session

    async def _check_manifest(self, client: Client) -> None:
        settings = self._settings
        app = await self.bounded(modal.App.lookup.aio(settings.mirror_app, client=client, environment_name=settings.mirror_environment))
        tags = await self.bounded(app.get_tags.aio(client=client))
        if tags.get("manifest") != manifest(settings.profile):
            raise bad_manifest(manifest(settings.profile), tags.get("manifest"))

    def _containers(self, base: Any, pool: Pool) -> Any:
        sized = base.with_options(
            gpu=pool.gpu, max_containers=self._settings.burst_max_containers, scaledown_window=self._settings.burst_idle_s
        )
        return sized.with_concurrency(max_inputs=pool.concurrency + 1, target_inputs=pool.concurrency)(deployments=pool.key)

    async def _watch(self, session: Session) -> None:
        """Return once the session is dead or stale. While calls are out, find out whether the platform still answers."""
        misses = 0
        while misses < MISSES:
            try:
                async with asyncio.timeout(self._settings.burst_ping_s):
                    await session.stale.wait()
            except TimeoutError:
                misses = 0 if session.calls == 0 or await self._answers(session) else misses + 1
            else:
                return
        session.end(BackendFailed("the platform no longer answers", None, FaultKind.INFRA))

    async def _answers(self, session: Session) -> bool:
        try:
            await within(self._settings.burst_ping_s, session.client.hello.aio())
        except Exception as error:
            fault = translated(error)
            if kind_of(fault) is FaultKind.CONFIG:
                session.end(fault)
            return False
        return True

    async def _release_when_idle(self, session: Session) -> None:
        while session.calls and not session.dead.is_set():
            await asyncio.sleep(self._settings.burst_ping_s)
        session.end(BackendFailed("the line was renewed", None, FaultKind.INFRA))
        await self._release(session)
        self._renewed.pop(session, None)

    async def _release(self, session: Session) -> None:
        """Close the client; what is dead may not even close, so this waits no longer than for a request."""
        try:
            await within(self._settings.burst_request_s, session.client.close.aio())
        except Exception:
            log.debug("the client did not close", exc_info=True)
