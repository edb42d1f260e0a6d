"""Replicas follow the predicted work, on a real Serve cluster; those that are let go finish what they run."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import serve as ray_serve

from serve import ledger
from serve.settings import Settings

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]
APP = MODEL = "sleeper"
SCALING = {
    "min_replicas": 1,
    "max_replicas": 3,
    "upscale_delay_s": 0.2,
    "downscale_delay_s": 0.5,
    "metrics_interval_s": 1.0,
    "look_back_period_s": 2.0,
    "policy": {"policy_function": "serve.autoscaling:PredictedWork", "policy_kwargs": {"target_wait_s": 5, "slots": 1}},
}


class Sleeper:
    """A model that runs until it is told to end."""

    async def run(self, folder: str, number: int) -> str:
        Path(folder, f"began-{number}").touch()
        while not Path(folder, "end").exists():
            await asyncio.sleep(0.05)
        return "done"


@pytest.fixture
def line(ray_cluster: Settings) -> Iterator[Any]:
    """The cluster's ledger, and a model that scales by it."""
    deployment = ray_serve.deployment(
        name=MODEL,
        autoscaling_config=SCALING,
        max_ongoing_requests=1,
        graceful_shutdown_timeout_s=100,
        graceful_shutdown_wait_loop_s=0.2,
        ray_actor_options={"num_cpus": 0},
    )(Sleeper)
    actor = ledger.start()
    ray_serve.run(deployment.bind(), name=APP, route_prefix=None)
    yield actor
    ray_serve.delete(APP)


def counts() -> dict[str, int]:
    app = ray_serve.status().applications[APP]
    return {str(getattr(state, "value", state)): count for state, count in app.deployments[MODEL].replica_states.items()}


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"it did not happen in time; replicas are {counts()}"
        time.sleep(0.05)


def test_work_brings_replicas_and_its_end_takes_them_without_harm_to_calls_that_run(line: Any, tmp_path: Path):
    assert counts() == {"RUNNING": 1}
    leases = ray.get([line.admit.remote("test", MODEL, 100.0) for _ in range(6)])
    wait_until(lambda: counts().get("RUNNING") == 3)
    handle = ray_serve.get_deployment_handle(MODEL, APP)
    calls = [handle.run.remote(str(tmp_path), number) for number in range(3)]
    wait_until(lambda: len(list(tmp_path.glob("began-*"))) == 3)  # one a replica, for each takes but one
    # The ledger now forgets calls that still run, so that replicas which work are let go.
    ray.get([line.done.remote("test", lease) for lease in leases])
    wait_until(lambda: counts() == {"RUNNING": 1, "STOPPING": 2})
    (tmp_path / "end").touch()
    assert [call.result(timeout_s=30) for call in calls] == ["done"] * 3
    wait_until(lambda: counts() == {"RUNNING": 1})
