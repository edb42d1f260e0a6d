"""What HTTP and Serve add to a call: the same small job through the running server and on the same runner in this process, by turns.

    make run                                  # in one terminal
    python -m benchmarks.overhead --calls 40  # in another

Both sides load the same weights and run the same task with the same settings of OpenMP; the two are interleaved, so noise of the
machine falls on both alike.
"""

import argparse
import asyncio
import http.client
import json
import os
import statistics
import time
from pathlib import Path
from urllib.parse import urlsplit

from deployments import deployments, endpoints
from deployments.spec.stores import lora_stack, weight_store
from models.acceleration import default_device, openmp
from models.host import Result, RunnerHost
from models.weights import Loading, folders
from serve.settings import Settings

PATH = "/wan2.6"
SEED = 1
WARM_UP = 3  # turns
BODY = {"prompt": "a lighthouse", "width": 128, "height": 128, "length": 1, "steps": 2, "seed": SEED}


async def direct(host: RunnerHost) -> int:
    endpoint = endpoints()[PATH]
    plan = endpoint.plan(endpoint.request.model_validate(BODY), SEED)
    async for event in host.produce(plan.stages[0].task, plan.encoding):
        if isinstance(event, Result):
            return len(event.media)
    raise RuntimeError("no result")


def through_http(client: http.client.HTTPConnection) -> int:
    client.request("POST", PATH, json.dumps(BODY), {"Content-Type": "application/json"})
    response = client.getresponse()
    media = response.read()
    if response.status != 200:
        raise RuntimeError(media.decode())
    return len(media)


async def measure(url: str, calls: int) -> tuple[list[float], list[float], int]:
    declared = deployments()[endpoints()[PATH].deployments[0]]
    settings, device = Settings(), default_device()
    files = folders(weight_store(settings), declared.weights)
    slots = lora_stack(declared, files, settings, device)  # as in the replica
    host = RunnerHost(declared.load(Loading(files, device, settings.safety), slots))
    bare, served, size = [], [], 0
    client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    for turn in range(calls + WARM_UP):
        started = time.perf_counter()
        await direct(host)
        between = time.perf_counter()
        size = through_http(client)
        if turn >= WARM_UP:
            bare.append(between - started)
            served.append(time.perf_counter() - between)
    return bare, served, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--calls", type=int, default=40)
    options = parser.parse_args()
    assert Path("deployments").is_dir(), "run it from the project's root"
    os.environ.update(openmp(len(os.sched_getaffinity(0))))  # before torch is loaded; replicas on this machine have the same
    bare, served, size = asyncio.run(measure(options.url, options.calls))
    added = [s - b for s, b in zip(served, bare, strict=True)]
    print(f"{PATH}, {size:,} bytes, {options.calls} calls each way, by turns; median ms (quartiles)")
    for name, times in (("runner in this process", bare), ("through HTTP and Serve", served), ("added", added)):
        low, mid, high = (1000 * q for q in statistics.quantiles(times, n=4))
        print(f"{name:24} {mid:8.1f}  ({low:.1f}–{high:.1f})")


if __name__ == "__main__":
    main()
