"""An update of a model under load, by `serve deploy`: how many calls fail (none should), and for how long calls wait.

    python -m benchmarks.rolling_update

A head and one worker with pretended cards run two replicas of a model; then the same configuration with another release of the code (a
copy of this folder) is deployed, which replaces every replica one after the other. `X-Model-Version` tells which release answered.
"""

import argparse
import shutil
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from benchmarks.raylets import Raylets, wait_until
from deployments import deployments
from deployments.plan.packing import pack
from deployments.plan.serve_config import production

MODEL, PATH = "z-image", "/z-image-simple"
BODY = {"prompt": "a lighthouse"}
CODE = ("deployments", "models", "modal_burst", "serve", "requirements.lock", "requirements-torch.lock")


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
    parser.add_argument("--callers", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ryla-"))
    cluster = Raylets(folder, options.port)
    try:
        cluster.start_head()
        cluster.start_worker("l40s", "L40S", 2)
        placement = pack({"L40S": 2}, [deployments()[MODEL]], {MODEL: 1.0})
        deploy(cluster, placement, release(folder, "first"))
        wait_until(lambda: len(cluster.replicas().get(MODEL, [])) == placement.up(MODEL), "the model is up", 300)
        measure(cluster, placement, release(folder, "second"), options.callers)
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def deploy(cluster: Raylets, placement: object, code: Path) -> None:
    config = production(placement, gateways=1, code=str(code))  # type: ignore[arg-type]
    config["http_options"]["port"] = cluster.port + 10
    cluster.deploy(config)


def measure(cluster: Raylets, placement: object, code: Path, callers: int) -> None:
    """Calls without pause, and the update in the middle of them."""
    seen: list[tuple[float, float, str, str]] = []
    stopped = threading.Event()

    def call() -> None:
        with httpx.Client(timeout=300) as client:
            while not stopped.is_set():
                began = time.monotonic()
                try:
                    reply = client.post(cluster.url + PATH, json=BODY)
                    seen.append((began, time.monotonic() - began, str(reply.status_code), reply.headers.get("x-model-version", "")))
                except httpx.HTTPError as error:
                    seen.append((began, time.monotonic() - began, type(error).__name__, ""))

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    time.sleep(10)
    before, began = cluster.actors(), time.monotonic()
    deploy(cluster, placement, code)
    wait_until(
        lambda: not before & cluster.actors() and all(a["status"] == "RUNNING" for a in cluster.applications().values()), "replaced", 400
    )
    took = time.monotonic() - began
    time.sleep(10)
    stopped.set()
    for thread in threads:
        thread.join()
    print(f"every process of {len(before)} replaced in {took:.0f} s under {callers} callers: {dict(Counter(row[2] for row in seen))}")
    calm, during = ([row[1] for row in seen if (row[0] + row[1] >= began) is late] for late in (False, True))
    print(f"  longest call {max(calm):.1f} s before, {max(during):.1f} s during and after")
    print(f"  answered by {dict(Counter(row[3] for row in seen))}")


if __name__ == "__main__":
    main()
