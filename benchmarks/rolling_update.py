"""An update under load, by `serve deploy`: how many calls fail (none should), and for how long calls wait.

    python -m benchmarks.rolling_update [--workers 2]

A head and one worker with pretended cards (or two) run two replicas of a model, and a gateway a worker; then the same configuration with
another release of the code (a copy of this folder) is deployed, which replaces every process. Meanwhile callers send short calls without
pause, one sends calls as long as it can, and one asks for `/health`. `X-Model-Version` tells which release answered.
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.raylets import Raylets, wait_until
from deployments import deployments
from deployments.plan.packing import pack
from deployments.plan.placement import Placement
from deployments.plan.serve_config import production

MODEL, PATH, CARDS = "z-image", "/z-image-simple", 2
SHORT = {"prompt": "a lighthouse", "width": 256, "height": 256}
LONG = {"prompt": "a lighthouse", "width": 1536, "height": 1536}
CODE = ("deployments", "models", "modal_burst", "serve", "requirements.lock", "requirements-torch.lock")
PING_S = 0.25
CALM_CALLS = 20  # of each kind but the long ones, before the update
AFTER_S = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One call. outcome: its status, or the class of the failure to get one."""

    kind: str
    began: float
    seconds: float
    outcome: str
    version: str


@dataclass
class Load:
    """Callers without pause, each with a connection of its own."""

    url: str
    seen: list[Seen] = field(default_factory=list[Seen])
    _stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self, callers: int, steps: int) -> Generator[None]:
        """Inside, the callers call; at the end each has its last answer."""
        long = LONG | {"steps": steps}
        jobs: list[tuple[str, str, dict[str, Any] | None]] = [("short", PATH, SHORT)] * callers
        jobs += [("long", PATH, long), ("health", "/health", None)]
        threads = [threading.Thread(target=self._call, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def count(self, kind: str) -> int:
        """Calls of a kind that have ended."""
        return sum(call.kind == kind for call in self.seen)

    def _call(self, kind: str, path: str, body: dict[str, Any] | None) -> None:
        with httpx.Client(timeout=600) as client:
            while not self._stopped.is_set():
                began = time.monotonic()
                try:
                    reply = client.request("GET" if body is None else "POST", self.url + path, json=body)
                    outcome, version = str(reply.status_code), reply.headers.get("x-model-version", "")
                except httpx.HTTPError as error:
                    outcome, version = type(error).__name__, ""
                self.seen.append(Seen(kind, began, time.monotonic() - began, outcome, version))
                if body is None or outcome != "200":
                    self._stopped.wait(PING_S)


def release(folder: Path, mark: str) -> Path:
    """A copy of the code that differs by a comment, and so in its manifest."""
    target = folder / mark
    target.mkdir()
    for name in CODE:
        source = Path(name)
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    with (target / "models" / "runner.py").open("a") as file:
        file.write(f"\n# {mark}\n")
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=18400)
    parser.add_argument("--workers", type=int, choices=(1, 2), default=1)
    parser.add_argument("--callers", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30, help="of the long calls")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ryla-"))
    cluster = Raylets(folder, options.port)
    try:
        cluster.start_head()
        for number in range(options.workers):
            cluster.start_worker(f"l40s-{number}", "L40S", CARDS // options.workers)
        placement = pack({"L40S": CARDS}, [deployments()[MODEL]], {MODEL: 1.0})
        first, second = release(folder, "first"), release(folder, "second")
        deploy(cluster, placement, first, options.workers)
        wait_until(lambda: up(cluster, placement, options.workers), "the model is up", 300)
        measure(cluster, placement, second, options)
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def deploy(cluster: Raylets, placement: Placement, code: Path, gateways: int) -> None:
    config = production(placement, gateways=gateways, code=str(code))
    config["http_options"]["port"] = cluster.port + 10
    cluster.deploy(config)


def up(cluster: Raylets, placement: Placement, gateways: int) -> bool:
    """Whether every app runs with all its replicas. Raises RuntimeError for an app that cannot be deployed."""
    apps, running = cluster.applications(), cluster.replicas()
    for name, app in apps.items():
        if app["status"] == "DEPLOY_FAILED":
            raise RuntimeError(f"{name}: {app['message']}")
    all_up = bool(apps) and all(app["status"] == "RUNNING" for app in apps.values())
    return all_up and len(running.get(MODEL, [])) == placement.up(MODEL) and len(running.get("gateway", [])) == gateways


def measure(cluster: Raylets, placement: Placement, code: Path, options: argparse.Namespace) -> None:
    """Calls without pause, and the update in the middle of them."""
    load = Load(cluster.url)
    with load.running(options.callers, options.steps):
        wait_until(lambda: min(load.count("short"), load.count("health")) >= CALM_CALLS and load.count("long") > 0, "calls are answered")
        before, began = cluster.actors(), time.monotonic()
        deploy(cluster, placement, code, options.workers)
        wait_until(lambda: not before & cluster.actors() and up(cluster, placement, options.workers), "replaced", 900)
        ended = time.monotonic()
        time.sleep(AFTER_S)
    print(
        f"{len(before)} processes, every one replaced in {ended - began:.0f} s under {options.callers} callers, {options.workers} gateways"
    )
    for kind in ("short", "long", "health"):
        calls = [call for call in load.seen if call.kind == kind]
        before_it = max(call.seconds for call in calls if call.began + call.seconds < began)
        in_it = max((call.seconds for call in calls if call.began + call.seconds >= began), default=0.0)
        print(f"  {kind}: {dict(Counter(call.outcome for call in calls))}; longest {before_it:.1f} s before, {in_it:.1f} s from then on")
    versions = Counter(call.version for call in load.seen if call.version)
    print(f"  answered by {dict(versions)}")
    for call in load.seen:
        if call.outcome != "200":
            print(f"  {call.kind} {call.outcome}: sent {call.began - began:+.1f} s from the update, for {call.seconds:.1f} s")
    if len(versions) < 2:
        sys.exit("one release answered every call: the other was never run")


if __name__ == "__main__":
    main()
