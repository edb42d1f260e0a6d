"""The router on real Serve: two replicas of three slots each, where a load costs twice a call.

The replicas hold real tiers of adapters; the work itself is a sleep, so that the times are those of the cases and not of this machine.
"""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ray import serve as ray_serve
from ray.serve.config import RequestRouterConfig

from models.lora.adapter import Adapter
from models.lora.tiers import Tiers
from serve.lora_router import LoraRouter
from serve.settings import Settings

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]
LOAD_S, CALL_S = 0.3, 0.15


class Worker:
    """A replica: one call at a time, three adapters, none in RAM."""

    def __init__(self) -> None:
        import torch  # before the first call, which would wait for it

        self.adapter = Adapter({"x": (torch.zeros(1, 1), torch.zeros(1, 1))})
        self.tiers = Tiers("cpu", slots=3, ram_bytes=0)
        self.calls = 0
        self.lock = threading.Lock()

    def work(self, key: str) -> str:
        def load() -> tuple[Adapter, Any]:
            time.sleep(LOAD_S)
            return self.adapter, "disk"

        with self.lock, self.tiers.hold({key: load} if key else {}):
            if key:
                self.tiers.on_device(key)
            time.sleep(CALL_S)
            self.calls += 1
        return ray_serve.get_replica_context().replica_id.unique_id

    async def __call__(self, key: str) -> str:
        return await asyncio.to_thread(self.work, key)

    def record_routing_stats(self) -> dict[str, list[str]]:
        return {"held": self.tiers.kept()}

    def loads(self) -> tuple[int, int]:
        return self.tiers.found["disk"], self.calls


class Front:
    """An application needs an ingress, and behind HAProxy that one has no router of its own."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker


@pytest.fixture
def handle(ray_cluster: Settings) -> Iterator[Any]:
    routing = RequestRouterConfig(
        request_router_class=f"{LoraRouter.__module__}.{LoraRouter.__name__}",
        request_router_kwargs={"slots": 3, "stray_after_s": 4.0},
        max_backoff_s=0.05,
    )
    worker = ray_serve.deployment(
        name="worker", num_replicas=2, max_ongoing_requests=1, ray_actor_options={"num_cpus": 0.05}, request_router_config=routing
    )(Worker)
    front = ray_serve.deployment(name="front", ray_actor_options={"num_cpus": 0.05})(Front)
    ray_serve.run(front.bind(worker.bind()), name="lora-router", route_prefix=None)
    handle = ray_serve.get_deployment_handle("worker", "lora-router")
    handle.broadcast("loads").results()  # makes the handle's one router; two threads at once would make one each
    yield handle
    ray_serve.delete("lora-router")


def ask(handle: Any, keys: list[str], concurrency: int) -> tuple[Counter[str], int]:
    """Calls by replica, and how many of them had to load."""
    with ThreadPoolExecutor(concurrency) as callers:
        served = Counter(callers.map(lambda key: handle.options(multiplexed_model_id=key).remote(key).result(), keys))
    cold = sum(loaded for loaded, _ in handle.broadcast("loads").results())
    return served, cold


def test_six_loras_that_fit_are_loaded_once_each(handle: Any):
    keys = [f"id{n}" for n in range(6)] * 8
    random.Random(0).shuffle(keys)
    served, cold = ask(handle, keys, concurrency=2)
    assert cold == 6
    assert max(served.values()) / len(keys) <= 0.65


@pytest.mark.parametrize("concurrency", [4, 8])
def test_a_zipf_mix_over_capacity_stays_warm_and_balanced(handle: Any, concurrency: int):
    keys = random.Random(2).choices([f"id{n}" for n in range(8)], [1 / (n + 1) for n in range(8)], k=100)
    served, cold = ask(handle, keys, concurrency)
    print(f"concurrency {concurrency}: {cold} % cold, {dict(served)}")
    assert cold / len(keys) <= 0.25
    assert max(served.values()) / len(keys) <= 0.72


def test_calls_without_a_lora_go_to_either_replica(handle: Any):
    served, cold = ask(handle, [""] * 20, concurrency=4)
    assert cold == 0
    assert min(served.values()) >= 5
    assert len(served) == 2
