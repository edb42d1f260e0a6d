"""What a call of the mirror costs before any model runs: the whole client path against a loopback control plane in another process.

    python -m benchmarks.burst_overhead [--calls 100]

Each call sends a task of the given size and gets as many bytes back, through the unmodified Modal client, as progress, parts and result.
Loopback bounds the client's own cost; the network and the platform come on top. "library alone" is the same exchange without our code.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from statistics import median, quantiles

WARM_UP = 5
SIZES = (0, 100_000, 1_000_000, 1_900_000, 4_000_000)


def serve() -> None:
    """The other process: a control plane whose mirror echoes; ends with its standard input."""
    from tests.modal_burst.loopback.server import LoopbackModal
    from tests.modal_burst.scripted import ScriptedMirror, done

    async def echo(payload):
        clip = payload["plan"]["stages"][0]["task"]["target"]
        for start in range(0, len(clip), 1_500_000):
            yield {"media": clip[start : start + 1_500_000]}
        yield done(len(clip))

    with LoopbackModal() as cloud:
        ScriptedMirror(echo).deploy(cloud)
        print(json.dumps(cloud.env), flush=True)
        sys.stdin.read()


def plan(size: int):
    import numpy as np

    from deployments import deployments
    from deployments.spec.endpoint import Plan, Stage
    from models.media import Encoding
    from models.task import SwapFaces

    name = next(name for name, declared in deployments().items() if declared.burst is not None)
    task = SwapFaces(source=np.zeros((16, 16, 3), np.uint8), target=os.urandom(size))
    return Plan(stages=(Stage(name, task),), encoding=Encoding(format="mp4"), units=(1.0,))


async def measure(calls: int) -> None:
    from modal_burst.backend import ModalBackend
    from modal_burst.pools import pool_of
    from modal_burst.settings import BurstSettings
    from modal_burst.wire import pack

    backend = ModalBackend(BurstSettings())
    await backend.start()
    assert await backend.settled(20), backend.fault
    print(f"{'payload each way':>18} {'p50 ms':>8} {'p95 ms':>8} {'library alone, p50 ms':>24}")
    for size in SIZES:
        work = plan(size)
        method = backend._line.session().containers(pool_of(work)).produce
        ours, alone = [], []
        for _ in range(calls + WARM_UP):
            ours.append(await timed(backend.run(work, deadline=None)))
            alone.append(await timed(method.remote_gen.aio({"plan": pack(work)})))
        ours, alone = ours[WARM_UP:], alone[WARM_UP:]
        print(f"{size:>18,} {median(ours):>8.1f} {quantiles(ours, n=20)[-1]:>8.1f} {median(alone):>24.1f}")
    work = plan(0)
    began = time.perf_counter()
    await asyncio.gather(*(timed(backend.run(work, deadline=None)) for _ in range(200)))
    print(f"200 calls at once: {time.perf_counter() - began:.2f} s")
    await backend.close()


async def timed(items) -> float:
    """Milliseconds until the last item."""
    began = time.perf_counter()
    async for _ in items:
        pass
    return (time.perf_counter() - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    command = [sys.executable, "-m", "benchmarks.burst_overhead", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        os.environ |= json.loads(server.stdout.readline())
        asyncio.run(measure(options.calls))
        server.stdin.close()


if __name__ == "__main__":
    main()
