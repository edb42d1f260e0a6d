"""The main job on a real Serve cluster: through HTTP, as a client sees it."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import pytest
from ray import serve as ray_serve

from models.media import probe
from models.media.limits import Limits
from serve.local import APP
from tests.conftest import Served

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]
SMALL = {"prompt": "a lighthouse", "width": 128, "height": 128, "length": 5, "steps": 3}


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=200) as client:
        yield client


@cache
def handle(deployment: str) -> Any:
    return ray_serve.get_deployment_handle(deployment, APP)


def state(deployment: str) -> Any:
    return handle(deployment).state.remote().result()


def wait_until(holds: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_the_main_job_gives_a_playable_mp4_from_two_deployments(client: httpx.Client, face_url: str):
    body = SMALL | {"reference_image": face_url, "face_image": face_url, "length": 9, "seed": 7}
    response = client.post("/wan2.6-i2v-faceswap", json=body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "video/mp4"
    assert response.headers["x-seed"] == "7"
    assert response.headers["x-model"] == "Wan2.2-TI2V-5B+face-swap"
    assert response.headers["x-faces-swapped"].endswith("/9")
    assert float(response.headers["x-cost-usd"]) > 0
    info = probe(response.content, "reply", Limits())
    assert (info.kind, info.width, info.height, info.frames) == ("video", 128, 128, 9)
    job = client.get(f"/jobs/{response.headers['x-job-id']}").json()
    assert (job["state"], job["backend"]) == ("succeeded", "cluster")
    assert job["cost_usd"] == float(response.headers["x-cost-usd"])
    assert client.post("/wan2.6-i2v-faceswap", json=body).content == response.content


def test_health_answers_at_once_while_a_generation_runs(client: httpx.Client):
    runner = threading.Thread(target=client.post, args=("/wan2.6",), kwargs={"json": SMALL | {"steps": 60}})
    runner.start()
    wait_until(lambda: state("wan-t2v").running == 1)
    replies = [client.get("/health") for _ in range(5)]
    still_running = state("wan-t2v").running
    runner.join()
    assert still_running == 1
    assert all(reply.json()["status"] == "healthy" for reply in replies)


def test_ready_and_models_speak_of_what_is_served(client: httpx.Client, served: Served):
    assert client.get("/ready").json() == {"ready": True, "models": dict.fromkeys(served.settings.models, True)}
    paths = {entry["path"] for entry in client.get("/models").json()["models"]}
    assert {"/wan2.6", "/wan2.6-i2v-faceswap", "/image-faceswap"} <= paths


def events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


def test_a_client_that_leaves_frees_the_replica_within_one_step(client: httpx.Client):
    before = state("wan-t2v").steps.get("denoise", 0)
    body = SMALL | {"width": 416, "height": 240, "length": 33, "steps": 100}
    with client.stream("POST", "/wan2.6", json=body, headers={"Accept": "text/event-stream"}) as response:
        for name, data in events(response.iter_lines()):
            if name == "progress" and data["stage"] == "denoise" and data["done"] >= 2:
                break
    left_at = state("wan-t2v").steps["denoise"] - before
    wait_until(lambda: state("wan-t2v").running == 0)
    stopped_at = state("wan-t2v").steps["denoise"] - before
    assert stopped_at - left_at <= 2  # the step it was in, and one that may have begun while the news travelled
    assert stopped_at < 20
    job = client.get(f"/jobs/{response.headers['x-job-id']}").json()
    assert job["state"] == "cancelled"


def test_whoever_asks_for_a_job_on_its_result_event_finds_its_outcome(client: httpx.Client):
    with client.stream("POST", "/wan2.6", json=SMALL | {"seed": 3}, headers={"Accept": "text/event-stream"}) as response:
        for name, _ in events(response.iter_lines()):
            if name == "result":
                job = client.get(f"/jobs/{response.headers['x-job-id']}").json()
    assert (name, job["state"]) == ("result", "succeeded")


def test_a_plain_caller_that_gives_up_frees_the_replica_too(client: httpx.Client, served: Served):
    before = state("wan-t2v").steps.get("denoise", 0)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{served.url}/wan2.6", json=SMALL | {"width": 416, "height": 240, "length": 33, "steps": 100}, timeout=2)
    wait_until(lambda: state("wan-t2v").running == 0)
    assert state("wan-t2v").steps["denoise"] - before < 80


def test_a_deadline_stops_the_run(client: httpx.Client):
    response = client.post("/wan2.6", json=SMALL | {"width": 416, "height": 240, "steps": 100}, headers={"X-Timeout-Seconds": "1.5"})
    assert (response.status_code, response.json()["type"]) == (504, "DeadlineExceeded")
    wait_until(lambda: state("wan-t2v").running == 0)


def test_a_killed_replica_costs_no_request(client: httpx.Client):
    replies: list[httpx.Response] = []
    body = SMALL | {"width": 256, "height": 256, "steps": 40, "seed": 5}
    victim = state("wan-t2v").pid
    caller = threading.Thread(target=lambda: replies.append(client.post("/wan2.6", json=body)))
    caller.start()
    wait_until(lambda: state("wan-t2v").running == 1)
    os.kill(victim, signal.SIGKILL)
    caller.join(timeout=120)
    first = replies[0]
    if first.status_code != 200:  # the replacement was not up in time for the second try
        assert (first.status_code, first.json()["type"]) == (503, "ReplicaLost")
        assert int(first.headers["retry-after"]) >= 1
    wait_until(lambda: client.post("/wan2.6", json=SMALL).status_code == 200, 60)
    assert state("wan-t2v").pid != victim
