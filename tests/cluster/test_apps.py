"""Production's shape on a real Serve cluster: an app a family and a gateway app, a chain across them, and an update under load."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import ray
from ray import serve as ray_serve

from deployments import deployments
from serve import ledger
from serve.app import FamilyArguments, GatewayArguments, family, gateway
from serve.settings import Settings

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]
FAMILIES = {"wan": ["wan-ti2v"], "faceswap": ["face-swap"]}
ROUTE = "/families"


def start(name: str) -> None:
    ray_serve.run(family(FamilyArguments(models=FAMILIES[name])), name=name, route_prefix=None)


@pytest.fixture(scope="module")
def client(ray_cluster: Settings) -> Iterator[httpx.Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RYLA_WEIGHTS_ROOT", str(ray_cluster.weights_root))
        patch.setenv("RYLA_LORA_ROOT", ray_cluster.lora_root)
        patch.setenv("RYLA_DATABASE_URL", ray_cluster.database_url)
        patch.setenv("RYLA_MODELS", "wan-ti2v,face-swap")  # so that both start at once
        for name in FAMILIES:
            start(name)
        names = [model for models in FAMILIES.values() for model in models]
        arguments = GatewayArguments(models=[*names, "wan-t2v"], served=names, shared=True)
        ray_serve.run(gateway(arguments), name="gateway", route_prefix=ROUTE)
        with httpx.Client(base_url=f"http://127.0.0.1:{ray_cluster.port}{ROUTE}", timeout=120) as client:
            yield client
        for name in ("gateway", *FAMILIES):
            ray_serve.delete(name, _blocking=False)


def test_a_chain_runs_across_apps_and_names_both_versions(client: httpx.Client, face_url: str):
    body = {"prompt": "x", "reference_image": face_url, "face_image": face_url, "width": 128, "height": 128, "length": 5, "steps": 2}
    reply = client.post("/wan2.6-i2v-faceswap", json=body)
    assert reply.status_code == 200, reply.text
    video, swap = reply.headers["x-model-version"].split("+")
    assert video.split(".")[0] == "tiny"
    assert swap.split(".")[0] in ("tiny", "bundled")
    assert len(video.split(".")[1]) == len(swap.split(".")[1]) == 12


def test_ready_speaks_of_all_apps(client: httpx.Client):
    assert client.get("/ready").json() == {"ready": True, "models": {"wan-ti2v": True, "face-swap": True}}


def test_a_model_without_a_place_says_so(client: httpx.Client):
    reply = client.post("/wan2.6", json={"prompt": "x"})
    assert reply.status_code == 501
    assert "no card of this cluster has room for the model 'wan-t2v'" in reply.json()["error"]


def test_the_shared_ledger_knows_a_call_while_it_runs_and_forgets_it_then(client: httpx.Client, face_url: str):
    body = {"prompt": "x", "reference_image": face_url, "width": 128, "height": 128, "length": 5, "steps": 60}
    line: Any = ledger.start()
    caller = threading.Thread(target=client.post, args=("/wan2.6-i2v",), kwargs={"json": body})
    caller.start()
    seen: dict[str, ledger.Backlog] = {}
    while caller.is_alive() and "wan-ti2v" not in seen:
        seen = ray.get(line.backlog.remote())
    caller.join()
    assert (seen["wan-ti2v"].calls, seen["wan-ti2v"].begun) == (1, 1)
    assert seen["wan-ti2v"].seconds > 0
    assert "wan-ti2v" not in ray.get(line.backlog.remote())


def test_no_call_fails_while_an_app_is_replaced(client: httpx.Client, face_url: str):
    body = {"source_image": face_url, "reference_image": face_url}
    statuses: list[int] = []
    enough, done = threading.Event(), threading.Event()

    def call() -> None:
        while not done.is_set():
            statuses.append(client.post("/image-faceswap", json=body).status_code)
            enough.set()

    caller = threading.Thread(target=call)
    caller.start()
    assert enough.wait(60)
    before = pid("face-swap")
    start("faceswap")
    assert pid("face-swap") != before
    seen = len(statuses)
    threading.Event().wait(0.5)
    done.set()
    caller.join()
    assert set(statuses) == {200}
    assert len(statuses) >= seen


def pid(model: str) -> int:
    handle = ray_serve.get_deployment_handle(model, deployments()[model].family)
    return handle.state.remote().result().pid  # type: ignore[attr-defined]
