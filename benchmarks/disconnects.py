"""How many client disconnects reach a handler behind Serve's HAProxy, with Ray's own configuration and with the mended one.

python -m benchmarks.disconnects
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time

import httpx
from fastapi import FastAPI, Request

PORT = 8043


def count(tries: int) -> None:
    """Serve a handler that waits, leave it `tries` times, and print how many departures it heard of."""
    from serve.local import environment, start_cluster
    from serve.settings import Settings

    settings = Settings(port=PORT)
    environment(settings)
    start_cluster(settings)
    from ray import serve as ray_serve

    ray_serve.run(ray_serve.deployment(ray_serve.ingress()(Waiting)).bind(), name="waiting")
    url = f"http://127.0.0.1:{PORT}"
    for index in range(tries):
        try:
            httpx.post(f"{url}/wait", json={}, timeout=httpx.Timeout(5, read=0.02 * (1 + index % 10)))
        except httpx.ReadTimeout:
            time.sleep(0.3)
    heard = httpx.get(f"{url}/heard").json()
    print(f"heard of {heard} of {tries} departures")
    ray_serve.shutdown()


class Waiting:
    """Waits until its client leaves."""

    def __init__(self) -> None:
        self.heard = 0

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = FastAPI()

        @app.post("/wait")
        async def wait(http: Request) -> None:
            await http.body()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.heard += 1
                raise

        @app.get("/heard")
        async def heard() -> int:
            return self.heard

        return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=30)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        return count(options.tries)
    for name, value in (("as Ray makes it", "1"), ("mended", "0")):
        print(f"{name}: ", end="", flush=True)
        command = [sys.executable, "-m", "benchmarks.disconnects", "--here", "--tries", str(options.tries)]
        run = subprocess.run(command, env={**os.environ, "RYLA_HAPROXY_AS_RAY_MADE_IT": value}, capture_output=True, text=True, check=True)
        print(next(line for line in run.stdout.splitlines() if line.startswith("heard")))
    return None


if __name__ == "__main__":
    main()
