"""What survives when a node dies, and for how long it is felt: three Ray nodes on this machine, under load, two of them killed in turn.

    python -m benchmarks.failures

1. The planner's configuration for 4 L40S and 2 A100 is deployed; every replica must be placed on the kind of card that the plan says.
2. A worker is killed in the middle of a call, and comes back.
3. The head is killed, is away for a while, and comes back with what it knew (Redis).

Tiny models on the CPU: start-up and call times are this machine's; what survives and how long Ray takes to notice carry over.
"""

import argparse
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.raylets import Raylets, wait_until
from deployments import deployments
from deployments.plan.__main__ import demand
from deployments.plan.packing import pack
from deployments.plan.placement import Placement
from deployments.plan.serve_config import production

FLEET = {"L40S": 4, "A100-80GB": 2}
NODES = {"L40S": "127.0.0.3", "A100-80GB": "127.0.0.4"}
SMALL = ("z-image", "qwen-image-2512")  # one on each kind of card, for the failures
CALLS = {
    "z-image": ("/z-image-simple", {"prompt": "a lighthouse"}),
    "qwen-image-2512": ("/qwen-image-2512-fast", {"prompt": "a lighthouse"}),
}
LONG = ("/qwen-image-2512", {"prompt": "a lighthouse", "num_inference_steps": 50, "width": 1024, "height": 1024})


@dataclass
class Load:
    """One caller a model, call after call, until it is stopped. Keeps when each call began, how long it took and what came of it."""

    urls: tuple[str, ...]
    seen: list[tuple[str, float, float, str]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for model in CALLS:
            self.threads.append(threading.Thread(target=self._call, args=(model,)))
            self.threads[-1].start()

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def _call(self, model: str) -> None:
        path, body = CALLS[model]
        with httpx.Client(timeout=300) as client:
            while not self.stopped.is_set():
                began = time.monotonic()
                outcome = post(client, self.urls, path, body)
                self.seen.append((model, began, time.monotonic() - began, outcome))
                time.sleep(0.3)

    def told(self, since: float) -> str:
        parts: list[str] = []
        for model in CALLS:
            rows = [(took, what) for name, began, took, what in self.seen if name == model and began + took >= since]
            longest = max((took for took, what in rows if what == "200"), default=0.0)
            parts.append(f"{model}: {dict(Counter(what for _, what in rows))}, longest good {longest:.1f} s")
        return "; ".join(parts)


def post(client: httpx.Client, urls: tuple[str, ...], path: str, body: Mapping[str, Any]) -> str:
    """The status of a call. A front that takes no connection is passed over for the next, as a balancer in front of the nodes would."""
    for url in urls:
        try:
            return str(client.post(url + path, json=body).status_code)
        except httpx.ConnectError:
            continue
        except httpx.HTTPError as error:
            return type(error).__name__
    return "ConnectError"


def placed(cluster: Raylets, placement: Placement) -> float:
    """Deploy the whole plan and wait until Ray has given each replica its part of a card. Raises TimeoutError."""
    config = _config(cluster, placement, gateways=1)
    began = time.monotonic()
    cluster.deploy(config)
    wanted = {name: [NODES[placement.kinds[name]]] * placement.up(name) for name in placement.kinds}

    def as_planned() -> bool:
        found = cluster.replicas(running=False)
        return all(found.get(name) == nodes for name, nodes in wanted.items())

    wait_until(as_planned, f"all replicas where the plan wants them: {wanted}", 420)
    return time.monotonic() - began


def serve_small(cluster: Raylets) -> None:
    """Only the models that the failures are tried on."""
    declared = [deployments()[name] for name in SMALL]
    placement = pack(FLEET, declared, {})
    cluster.deploy(_config(cluster, placement, gateways=2))
    wait_until(lambda: _up(cluster), "the models are up", 420)


def _config(cluster: Raylets, placement: Placement, gateways: int) -> dict[str, Any]:
    config = production(placement, gateways=gateways)
    config["http_options"]["port"] = cluster.port + 10
    return config


def _fronts(cluster: Raylets) -> tuple[str, ...]:
    return tuple(f"http://{address}:{cluster.port + 10}" for address in NODES.values())


def _only_z_image(cluster: Raylets) -> bool:
    found = cluster.replicas()  # empty when the head did not answer, which says nothing
    return bool(found.get("z-image")) and not found.get("qwen-image-2512")


def _up(cluster: Raylets) -> bool:
    found = cluster.replicas()
    return all(found.get(name) for name in SMALL) and len(found.get("gateway", ())) == 2


def worker_dies(cluster: Raylets, away_s: float) -> None:
    """Kill the A100 node while two long calls are on it: each gateway has one, and one of the gateways is on that node too."""
    load = Load(_fronts(cluster))
    long: list[tuple[str, float]] = []

    def call() -> None:
        began = time.monotonic()
        with httpx.Client(timeout=600) as client:
            long.append((post(client, load.urls, *LONG), time.monotonic() - began))

    with httpx.Client(timeout=600) as client:
        alone = time.monotonic()
        post(client, load.urls, *LONG)
        alone = time.monotonic() - alone
    load.start()
    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    time.sleep(min(3.0, alone / 2))
    killed = time.monotonic()
    cluster.kill("a100")
    gone = wait_until(lambda: _only_z_image(cluster), "the loss is noticed", 120)
    time.sleep(max(0.0, away_s - (time.monotonic() - killed)))
    back = time.monotonic()
    cluster.start_worker("a100", "A100-80GB", FLEET["A100-80GB"])
    node_s = time.monotonic() - back
    wait_until(lambda: bool(cluster.replicas().get("qwen-image-2512")), "the model is up again", 300)
    again = time.monotonic() - back
    for caller in callers:
        caller.join()
    time.sleep(5)
    load.stop()
    print(f"worker killed mid-call: Serve drops its replica after {gone:.1f} s; away {back - killed:.0f} s; node up {node_s:.1f} s")
    print(f"  after its return, model up {again:.1f} s after it")
    told = " and ".join(f"{status} after {seconds:.1f} s" for status, seconds in long)
    print(f"  the two calls there ({alone:.1f} s alone): {told}; a call whose gateway is lost as well has nobody to send it again")
    print(f"  {load.told(killed)}", flush=True)


def head_dies(cluster: Raylets, away_s: float) -> None:
    """Kill the head, and bring it back with what Redis kept."""
    before = cluster.actors()
    load = Load(_fronts(cluster))
    load.start()
    time.sleep(5)
    killed = time.monotonic()
    cluster.kill("head")
    time.sleep(away_s)
    back = time.monotonic()
    cluster.start_head()
    head_s = time.monotonic() - back
    answers = head_s + wait_until(lambda: _up(cluster), "Serve answers again", 300)
    time.sleep(20)
    load.stop()
    after = cluster.actors()
    kept = sum(actor in after for actor in before)
    print(f"head killed for {back - killed:.0f} s: up {head_s:.1f} s and Serve's controller {answers:.1f} s after its return")
    print(f"  {kept} of {len(before)} replicas are the same processes")
    print(f"  {load.told(killed)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=18400)
    parser.add_argument("--away", type=float, default=15.0, help="seconds that a killed node stays away")
    parser.add_argument("--skip-plan", action="store_true", help="leave the first part out")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ryla-"))
    cluster = Raylets(folder, options.port, "redis")
    try:
        cluster.start_redis()
        cluster.start_head()
        for name, kind in (("l40s", "L40S"), ("a100", "A100-80GB")):
            cluster.start_worker(name, kind, FLEET[kind])
        if not options.skip_plan:
            placement = pack(FLEET, list(deployments().values()), demand(None))
            print(f"every replica where the plan wants it, {placed(cluster, placement):.1f} s after `serve deploy`", flush=True)
        serve_small(cluster)
        worker_dies(cluster, options.away)
        head_dies(cluster, options.away)
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
