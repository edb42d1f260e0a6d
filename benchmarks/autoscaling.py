"""A step of load on one model and back: how soon replicas follow, and whether any call is lost on the way.

    python -m benchmarks.autoscaling

A head and one worker with pretended cards run the planner's configuration for 3 L40S, with a short downscale delay. The decision is the
moment at which Serve's target rises; a replica counts when it runs. Tiny models on the CPU: the time to load is this machine's.
"""

import argparse
import shutil
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from benchmarks.raylets import Raylets, wait_until
from deployments import deployments
from deployments.plan.packing import pack
from deployments.plan.serve_config import production

MODEL, PATH = "z-image", "/z-image-simple"
BODY = {"prompt": "a lighthouse", "width": 1024, "height": 1024}
DOWN_S = 10.0


class Watch:
    """Replicas of the model over time: (when, running, wanted)."""

    def __init__(self, cluster: Raylets) -> None:
        self._cluster = cluster
        self._stopped = threading.Event()
        self.seen: list[tuple[float, int, int]] = []
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._stopped.wait(0.2):
            for app in self._cluster.applications().values():
                if MODEL in app["deployments"]:
                    found = app["deployments"][MODEL]
                    running = sum(replica["state"] == "RUNNING" for replica in found["replicas"])
                    self.seen.append((time.monotonic(), running, found["target_num_replicas"]))

    def first(self, since: float, *, running: int = 0, wanted: int = 0) -> float:
        """Seconds from `since` until at least so many ran and were wanted; minus one when it never happened."""
        return next((at - since for at, r, w in self.seen if at >= since and r >= running and w >= wanted), -1.0)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


def load(url: str, callers: int, seconds: float) -> Counter[str]:
    """`callers` at once, each call after call, for `seconds`."""
    seen: Counter[str] = Counter()
    end = time.monotonic() + seconds

    def call() -> None:
        with httpx.Client(timeout=300) as client:
            while time.monotonic() < end:
                seen[str(client.post(url + PATH, json=BODY).status_code)] += 1

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def config_of(cluster: Raylets, target_wait_s: float) -> dict[str, Any]:
    placement = pack({"L40S": 3}, [deployments()[MODEL]], {})
    config = production(placement, gateways=1)
    config["http_options"]["port"] = cluster.port + 10
    scaling = config["applications"][0]["deployments"][0]["autoscaling_config"]
    scaling["downscale_delay_s"] = DOWN_S
    scaling["policy"]["policy_kwargs"]["target_wait_s"] = target_wait_s  # toy models are done before a real target would be missed
    return config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=18400)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--target-wait", type=float, default=0.02, help="toy models are predicted to take hundredths of a second")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ryla-"))
    cluster = Raylets(folder, options.port)
    try:
        cluster.start_head()
        cluster.start_worker("l40s", "L40S", 3)
        cluster.deploy(config_of(cluster, options.target_wait))
        wait_until(lambda: {MODEL, "gateway"} <= set(cluster.replicas()), "the model is up", 300)
        load(cluster.url, 1, 5)  # the gateway learns what a call takes
        time.sleep(DOWN_S)
        watch = Watch(cluster)
        began = time.monotonic()
        outcomes = load(cluster.url, options.callers, options.seconds)
        ended = time.monotonic()
        wait_until(lambda: cluster.replicas().get(MODEL, []) == ["127.0.0.3"], "one replica again", 120)
        down_s = time.monotonic() - ended
        watch.stop()
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
    more = [(number, watch.first(began, wanted=number), watch.first(began, running=number)) for number in (2, 3)]
    print(f"{options.callers} callers at once for {options.seconds:.0f} s: {dict(outcomes)}")
    for number, wanted, running in more:
        print(f"  replica {number}: wanted {wanted:.1f} s after the step, running {running - wanted:.1f} s after that")
    print(f"  one replica again {down_s:.1f} s after the load's end (delay {DOWN_S:.0f} s)")


if __name__ == "__main__":
    main()
