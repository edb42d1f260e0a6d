"""`LoopbackModal`: a control plane on this machine, for an unmodified client and CLI."""

import asyncio
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import cbor2

from tests.modal_burst.loopback.blobs import Blobs
from tests.modal_burst.loopback.calls import Calls
from tests.modal_burst.loopback.containers import Containers
from tests.modal_burst.loopback.deploys import Deploys
from tests.modal_burst.loopback.faults import Faults
from tests.modal_burst.loopback.fleet import Fleet
from tests.modal_burst.loopback.ledger import Ledger
from tests.modal_burst.loopback.local import LocalClass, LocalContainers, Method
from tests.modal_burst.loopback.lookups import Lookups
from tests.modal_burst.loopback.network import Network
from tests.modal_burst.loopback.process import Processes
from tests.modal_burst.loopback.rpc import servicer
from tests.modal_burst.loopback.state import Container, Function, Input, State

TOKEN_ID, TOKEN_SECRET = "ak-loopback", "as-loopback"
Result = TypeVar("Result")


class LoopbackModal:
    """Stands in for Modal's control plane, which no machine of ours can have; everything that talks to it is the real thing.

    It answers the unmodified client and the unmodified `modal deploy` over gRPC, and runs what was deployed in Modal's own
    container runner, a process a container. Images are not built, snapshots not taken, volumes are folders, and how fast
    containers come and go is its own invention. A context manager; runs in a thread, and is driven from any other.
    """

    def __init__(self, container_env: Mapping[str, str] | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="loopback-modal-"))
        self.state = State(self._folder)
        self.faults = Faults({TOKEN_ID: TOKEN_SECRET})
        self.ledger = Ledger(self.state)
        self._container_env = container_env or {}
        self._front, self._back = Network(), Network()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loopback-modal", daemon=True)

    def __enter__(self) -> "LoopbackModal":
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _open(self) -> None:
        self._local = LocalContainers(self.state)
        self.fleet = Fleet(self.state, self._launch)
        self._blobs = Blobs(self.state)
        await self._blobs.open()
        groups = [
            Lookups(self.state, self.fleet, self.ledger),
            Calls(self.state, self.fleet, self.faults),
            self._blobs,
            Deploys(self.state, self.fleet),
            Containers(self.state, self.fleet),
        ]
        modal = servicer(self.faults, groups)
        await self._front.listen([modal])
        await self._back.listen([modal])
        self._processes = Processes(self.state, self._back.url, _bare_environment() | dict(self._container_env))

    async def _close(self) -> None:
        self.fleet.closed = True
        await self._local.close()
        await self._processes.close()
        await self._front.refuse()
        await self._back.refuse()
        await self._blobs.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _launch(self, function: Function, fleet: Fleet) -> Container:
        local = (function.base or function).id in self._local.classes
        return (self._local if local else self._processes).launch(function, fleet)

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def _do(self, act: Callable[[], object]) -> None:
        async def work() -> None:
            act()

        self._run(work())

    # What a test sets up.

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self._front.url

    @property
    def env(self) -> dict[str, str]:
        """Variables that point a client or the CLI here, and keep the machine's own Modal settings out."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": TOKEN_ID,
            "MODAL_TOKEN_SECRET": TOKEN_SECRET,
            "MODAL_CONFIG_PATH": os.devnull,
            "MODAL_DISABLE_API_PROXY": "1",
            "MODAL_PAYLOAD_FORMAT": "cbor",
        }

    def serve(
        self,
        app: str,
        name: str,
        methods: Mapping[str, Method],
        *,
        parameters: Mapping[str, type] | None = None,
        tags: Mapping[str, str] | None = None,
        gpu: str = "L40S",
        max_inputs: int = 1,
        max_containers: int = 4,
        cold_start_s: float = 0.0,
    ) -> None:
        """Deploy a class made of test code, which runs inside this server."""
        local = LocalClass(methods, parameters or {}, gpu, max_inputs, max_containers, cold_start_s)
        self._do(lambda: self._local.deploy(app, name, local, tags or {}))

    def undeploy(self, app: str) -> None:
        """Forget an app, as if nobody had deployed it."""
        self._do(lambda: [self.state.apps.pop(a.id) for a in list(self.state.apps.values()) if a.name == app])

    # What goes wrong, beside `faults`.

    def refuse(self) -> None:
        """Break all clients' connections and refuse new ones."""
        self._run(self._front.refuse())

    def black_hole(self) -> None:
        """Keep clients' connections and accept new ones, but never read or write again."""
        self._do(self._front.black_hole)

    def heal(self) -> None:
        """Undo `refuse` and `black_hole`."""
        self._run(self._front.heal())

    def restart(self) -> None:
        """Break all connections and forget all calls, as a server that crashed and came back."""

        def act() -> None:
            self._front.break_all()
            self.state.forget_calls()

        self._do(act)

    def slow_network(self, round_trip_s: float) -> None:
        """Delay whatever clients send."""
        self._front.latency_s = round_trip_s

    def kill_containers(self) -> None:
        """Kill every container, with what it runs."""
        self._do(lambda: [container.stop() for container in self.containers if container.ended_at is None])

    # What a test reads.

    @property
    def asked(self) -> Counter[str]:
        """How often clients asked which RPC."""
        return self.faults.asked

    @property
    def inputs(self) -> list[Input]:
        """Every input of every call, in order."""
        return list(self.state.history)

    @property
    def containers(self) -> list[Container]:
        """Every container that ever was."""
        return list(self.state.containers.values())

    def arguments(self, item: Input) -> tuple[list[Any], dict[str, Any]]:
        """The positional and named arguments of an input sent as cbor."""
        payload = self.state.blobs[item.item.args_blob_id] if item.item.args_blob_id else item.item.args
        positional, named = cbor2.loads(payload)
        return positional, named

    def log(self, container: Container) -> str:
        """What a container process has printed."""
        return (self._folder / "containers" / f"{container.id}.log").read_text(errors="replace")

    def volume(self, name: str) -> Path:
        """The folder that stands in for a volume."""
        folder = self._folder / "volumes" / f"vo-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _bare_environment() -> dict[str, str]:
    """What a container gets of this machine's environment: enough to run Python, and nothing that could leak settings in."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR", "OMP_NUM_THREADS") if key in os.environ}
    return {
        **kept,
        "MODAL_CONFIG_PATH": os.devnull,
        "MODAL_DISABLE_API_PROXY": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
