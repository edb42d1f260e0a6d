"""What company does to a picture model: seconds a picture and seconds a call through its host, by the number of callers.

    python -m benchmarks.gpu.company --model z-image --callers 1 --callers 2 --callers 4     # one CUDA card
    python -m benchmarks.gpu.company --smoke                                                   # toys on the CPU

The host batches, encodes and signs as in a replica, without Ray and HTTP: callers ask for the endpoint's default job with seeds of
their own, each again as soon as it has its picture. Random weights; pictures of noise make PNG files that are larger than real ones.
JSON, one object a number of callers: "picture_s" is the whole time over the pictures, and stages are the median seconds of a batch.
"""

import argparse
import asyncio
import json
import statistics
import time
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from benchmarks.gpu.images import built
from benchmarks.gpu.picture_models import MODELS
from deployments.spec.deployment import Deployment
from models.host import Result, RunnerHost
from models.media import Encoding
from models.task import Task
from models.weights import Loading


async def one(host: RunnerHost, task: Task) -> tuple[float, Result]:
    began = time.perf_counter()
    async with aclosing(host.produce(task, Encoding(format="png"))) as events:
        found = [event async for event in events if isinstance(event, Result)]
    return time.perf_counter() - began, found[-1]


async def crowd(host: RunnerHost, task: Task, callers: int, each: int) -> dict[str, Any]:
    """`callers` at once, `each` calls from each."""
    calls: list[tuple[float, Result]] = []

    async def caller(number: int) -> None:
        for turn in range(each):
            calls.append(await one(host, replace(task, seed=1000 * number + turn)))

    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    took = time.perf_counter() - began
    runs = [result.stages[0] for _, result in calls]
    stages = sorted({stage for run in runs for stage in run.seconds})
    report: dict[str, Any] = {"callers": callers, "calls": len(calls), "picture_s": round(took / len(calls), 3)}
    report |= {"call_s": round(statistics.median(took for took, _ in calls), 2)}
    report |= {"batch": round(statistics.mean(int(run.facts.get("batch", 1)) for run in runs), 2)}
    report |= {f"{stage}_s": round(statistics.median(run.seconds.get(stage, 0.0) for run in runs), 3) for stage in stages}
    return report | {"png_mb": round(len(calls[0][1].media) / 1e6, 2)}


async def measure(name: str, declared: Deployment, host: RunnerHost, task: Task, crowds: list[int], each: int) -> None:
    for callers in crowds:
        await crowd(host, task, callers, 2)  # the first run of a batch's size is slower
        print(json.dumps({"model": name, "most": declared.batch} | await crowd(host, task, callers, each)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=sorted(MODELS))
    parser.add_argument("--callers", action="append", type=int)
    parser.add_argument("--each", type=int, default=6, help="calls of each caller")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    device = "cpu" if options.smoke else "cuda"
    for name in options.model or list(MODELS):
        with built(name, device) as (files, declared, task):
            host = RunnerHost(declared.load(Loading(files, device)), declared.concurrency, batch=declared.batch)
        asyncio.run(measure(name, declared, host, task, options.callers or [1, 2], options.each))
        host.close()


if __name__ == "__main__":
    main()
