"""LoRAs on real Serve: cold load, warm swap, and where 64 LoRAs of a Zipf mix are found on two replicas.

    python -m benchmarks.lora                 # the tiny profile on this machine, its own cluster
    python -m benchmarks.lora --plain-router  # the same with Serve's own router, to compare

Every call is an HTTP request to `/flux-dev-lora` that wears one LoRA; the replicas are the real ones, at toy size. Memory is cut to a few
LoRAs, as it is at real size: `--slots` adapters on the GPU and `--ram` beside it, of 64. The reply's `X-Lora-Tier` says where it was found.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from deployments import deployments
from serve.local import environment, start_cluster, stop_cluster
from serve.settings import Settings

PORT, REPLICAS, LORAS, RANK = 8033, 2, 64, 16
BODY = {"prompt": "a red fox", "width": 128, "height": 128, "steps": 1, "seed": 1}
TIERS = ("worn", "vram", "ram", "disk", "cold")


def attention(base: Any, seed: int) -> dict[str, Any]:
    """A LoRA on the attention of every block, as most trainers make it."""
    import torch

    generator, tensors = torch.Generator().manual_seed(seed), {}
    for name, (out, into) in base.layers.items():
        if name.startswith("transformer.") and name.rpartition(".")[2] in ("to_q", "to_k", "to_v"):
            tensors[f"{name}.lora_A.weight"] = torch.randn(RANK, into, generator=generator) / into**0.5
            tensors[f"{name}.lora_B.weight"] = torch.randn(out, RANK, generator=generator) * 0.1
    return tensors


def on_one_replica(settings: Settings, runs: int = 40) -> Any:
    """Cold load and warm swap on the model itself, without Serve; returns the base that LoRAs must fit."""
    from safetensors.torch import save_file

    from deployments.spec.stores import lora_files, lora_stack, weight_store
    from models.lora.files import sha256
    from models.task import LoraUse
    from models.weights import Loading, folders

    declared = deployments()["flux-dev"]
    stack = lora_stack(declared, {}, settings, "cpu")
    assert stack is not None
    runner: Any = declared.load(Loading(folders(weight_store(settings), {"base": declared.weights["base"]})), stack)
    files, uses = lora_files(settings), []
    for seed in range(runs):
        with tempfile.NamedTemporaryFile() as file:
            save_file(attention(stack.base, 1000 + seed), file.name)
            digest = sha256(Path(file.name))
            files.put(Path(file.name), digest)
            uses.append(LoraUse(f"x{seed}", 1.0, digest))

    def wear(use: LoraUse) -> float:
        began = time.perf_counter()
        stack.wear(runner.pipe, (use,))
        return 1000 * (time.perf_counter() - began)

    cold = [wear(use) for use in uses][1:]
    warm = [wear(uses[turn % 2]) for turn in range(2 * runs)][2:]
    print(f"on one replica, ms, median of {runs}: cold load {statistics.median(cold):.2f}, warm swap {statistics.median(warm):.2f}")
    return stack.base


def upload(url: str, base: Any, settings: Settings) -> list[str]:
    """64 LoRAs in the registry: one brought over HTTP and timed, the others without the process of its own that reads an upload."""
    from safetensors.torch import save

    import serve.loras as registry
    from deployments.spec.stores import lora_files
    from models.lora.check import check
    from serve.auth import LOCAL_TENANT
    from serve.jobs import Jobs

    names = [f"style-{number:02}" for number in range(LORAS)]
    began = time.perf_counter()
    reply = httpx.post(f"{url}/loras", params={"name": names[0], "base": "flux-dev"}, content=save(attention(base, 0)), timeout=300)
    reply.raise_for_status()
    print(f"one upload over HTTP, checked and stored: {time.perf_counter() - began:.1f} s")
    registry.checked = check
    table = registry.Loras(Jobs(settings.database_url).engine, lora_files(settings), deployments(), settings.max_lora_bytes)
    for number, name in enumerate(names[1:], 1):
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(save(attention(base, number)))
            asyncio.run(table.add(registry.NewLora(name=name, base="flux-dev"), Path(file.name), LOCAL_TENANT))
    return names


def call(client: httpx.Client, name: str) -> tuple[str, float]:
    began = time.perf_counter()
    reply = client.post("/flux-dev-lora", json=BODY | {"lora_name": name})
    reply.raise_for_status()
    return reply.headers["x-lora-tier"], time.perf_counter() - began


def through_http(url: str, names: list[str], calls: int, concurrency: int) -> None:
    keys = random.Random(7).choices(names, [1 / (rank + 1) for rank in range(len(names))], k=calls)
    with httpx.Client(base_url=url, timeout=300) as client, ThreadPoolExecutor(concurrency) as callers:
        began = time.perf_counter()
        results = list(callers.map(lambda key: call(client, key), keys))
        took = time.perf_counter() - began
    counts, times = Counter(tier for tier, _ in results), defaultdict[str, list[float]](list)
    for tier, seconds in results:
        times[tier].append(seconds)
    first = len(set(keys))
    print(f"{calls} calls of {first} different LoRAs, {concurrency} at a time, {REPLICAS} replicas: {took:.1f} s")
    print("| found in | calls | share | median latency, ms |\n|---|---|---|---|")
    for tier in TIERS:
        if counts[tier]:
            print(f"| {tier} | {counts[tier]} | {counts[tier] / calls:.0%} | {1000 * statistics.median(times[tier]):.0f} |")
    missed = counts["disk"] + counts["cold"]
    print(f"in memory: {1 - missed / calls:.1%} of calls; {missed} loads, {first} of them the first of their LoRA")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--concurrency", type=int, default=6)
    parser.add_argument("--slots", type=int, default=4, help="adapters on the GPU of a replica")
    parser.add_argument("--ram", type=int, default=12, help="adapters in the memory of a replica")
    parser.add_argument("--plain-router", action="store_true", help="Serve's own router")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            port=PORT,
            models=("flux-dev",),
            database_url=f"sqlite:///{folder}/jobs.db",
            lora_root=f"{folder}/loras",
            lora_ram_bytes=options.ram * adapter_bytes(),
        )
        environment(settings)
        base = on_one_replica(settings)
        start_cluster(settings)
        try:
            serve_flux(settings, options.slots, options.plain_router)
            url = f"http://{settings.host}:{PORT}"
            through_http(url, upload(url, base, settings), options.calls, options.concurrency)
        finally:
            stop_cluster()


def adapter_bytes() -> int:
    """Memory of one of these LoRAs on the toy: 3 double and 5 single blocks of width 32."""
    return (3 + 5) * 3 * 2 * 32 * RANK * 4


def serve_flux(settings: Settings, slots: int, plain: bool) -> None:
    from ray import serve as ray_serve

    import serve.app as app

    declared = deployments()["flux-dev"]
    if plain:
        app.lora_routing = lambda _: {}
    two = replace(declared, lora_slots=slots, replicas=replace(declared.replicas, min=REPLICAS, max=REPLICAS))
    ray_serve.run(app.application(settings, [two]), name="ryla", route_prefix="/")


if __name__ == "__main__":
    main()
