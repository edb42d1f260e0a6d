"""What HTTP and Serve add to a call: the same small job through the running server and on the same runner in this process, by turns.

    make run                                  # in one terminal
    python -m benchmarks.overhead --calls 40  # in another

Both sides load the same weights and run the same task; the two are interleaved, so noise of the machine falls on both alike.
"""

import argparse
import asyncio
import statistics
import time
from pathlib import Path

import httpx

from deployments import deployments, endpoints
from models.host import Result, RunnerHost
from models.weights import Loading
from serve.settings import Settings
from serve.store import weight_store

PATH = "/wan2.6"
BODY = {"prompt": "a lighthouse", "width": 128, "height": 128, "length": 5, "steps": 2, "seed": 1}


async def direct(host: RunnerHost) -> int:
    endpoint = endpoints()[PATH]
    plan = endpoint.plan(endpoint.request.model_validate(BODY), BODY["seed"])
    async for event in host.produce(plan.stages[0].task, plan.encoding):
        if isinstance(event, Result):
            return len(event.media)
    raise RuntimeError("no result")


async def through_http(client: httpx.AsyncClient) -> int:
    response = await client.post(PATH, json=BODY)
    response.raise_for_status()
    return len(response.content)


async def measure(url: str, calls: int) -> tuple[list[float], list[float], int]:
    declared = deployments()[endpoints()[PATH].deployments[0]]
    store = weight_store(Settings())
    host = RunnerHost(declared.runner(Loading({role: store.folder(c) for role, c in declared.weights.items()})))
    bare, served, size = [], [], 0
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        for turn in range(calls + 3):
            for times, work in ((bare, direct(host)), (served, through_http(client))):
                started = time.perf_counter()
                size = await work
                if turn >= 3:  # the first turns warm both sides up
                    times.append(time.perf_counter() - started)
    return bare, served, size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--calls", type=int, default=40)
    options = parser.parse_args()
    assert Path("deployments").is_dir(), "run it from the project's root"
    bare, served, size = asyncio.run(measure(options.url, options.calls))
    added = [s - b for s, b in zip(served, bare, strict=True)]
    print(f"{PATH}, {size:,} bytes, {options.calls} calls each way, by turns; median ms (quartiles)")
    for name, times in (("runner in this process", bare), ("through HTTP and Serve", served), ("added", added)):
        low, mid, high = (1000 * q for q in statistics.quantiles(times, n=4))
        print(f"{name:24} {mid:8.1f}  ({low:.1f}–{high:.1f})")


if __name__ == "__main__":
    main()
