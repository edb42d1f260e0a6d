"""LoRAs through HTTP on a real replica: brought, worn, mixed with others at the same time, and gone."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image as PilImage
from ray import serve as ray_serve

from deployments import deployments
from deployments.spec.stores import lora_files
from models.lora.base import Base
from serve.app import application
from serve.settings import Settings
from tests.models.lora.making import attention, peft, save

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]
BODY = {"prompt": "a red fox", "width": 128, "height": 128, "steps": 2, "seed": 3}


@pytest.fixture(scope="module")
def client(ray_cluster: Settings) -> Iterator[httpx.Client]:
    settings = ray_cluster.model_copy(update={"models": ("flux-dev",)})
    ray_serve.run(application(settings, [deployments()["flux-dev"]]), name="loras", route_prefix="/with-loras")
    with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}/with-loras", timeout=200) as client:
        yield client
    ray_serve.delete("loras")


@pytest.fixture(scope="module")
def names(client: httpx.Client, ray_cluster: Settings, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    base = lora_files(ray_cluster).base("flux-dev")
    assert isinstance(base, Base), "the replica wrote it down when it started"
    folder: Path = tmp_path_factory.mktemp("made")
    for number, name in enumerate(("one", "character-7")):
        content = save(peft(attention(base.layers), seed=number), folder / name).read_bytes()
        made = client.post("/loras", params={"name": name, "base": "flux-dev"}, content=content)
        assert made.status_code == 201, made.text
    return ["one", "character-7"]


def picture(client: httpx.Client, path: str = "/flux-dev-lora", **fields) -> httpx.Response:
    reply = client.post(path, json=BODY | fields)
    assert reply.status_code == 200, reply.text
    return reply


def pixels(reply: httpx.Response) -> np.ndarray:
    return np.asarray(PilImage.open(io.BytesIO(reply.content))).astype(int)


def test_each_call_wears_what_it_asks_for_whatever_runs_beside_it(client: httpx.Client, names: list[str]):
    plain = picture(client, "/flux-dev")
    one, two = picture(client, lora_name="one"), picture(client, lora_id="7")
    assert (one.headers["x-lora"], one.headers["x-lora-used"], one.headers["x-lora-tier"]) == ("one", "one.safetensors", "disk")
    assert two.headers["x-lora"] == "character-7"
    expected = {"": pixels(plain), "one": pixels(one), "character-7": pixels(two)}
    for a, b in combinations(expected.values(), 2):
        assert np.abs(a - b).max() > 8

    def ask(name: str) -> tuple[str, np.ndarray, str]:
        reply = picture(client, lora_name=name) if name else picture(client, "/flux-dev")
        return name, pixels(reply), reply.headers.get("x-lora-tier", "")

    with ThreadPoolExecutor(6) as callers:
        replies = list(callers.map(ask, ["one", "character-7", "", "one", "", "character-7"] * 3))
    for name, shown, _ in replies:  # calls that agree in their LoRAs may share a batch, which rounds in another order
        assert np.abs(shown - expected[name]).max() <= 1
    assert {tier for name, _, tier in replies if name} <= {"worn", "vram"}


def test_several_loras_at_once_and_one_that_ships_with_the_model(client: httpx.Client, names: list[str]):
    both = picture(client, loras=[{"name": "one", "strength": 0.5}, {"name": "character-7.safetensors"}])
    assert both.headers["x-lora"] == "one,character-7"
    assert both.content != picture(client, lora_name="one").content
    assert picture(client, "/flux-dev-realism").content != picture(client, "/flux-dev").content


def test_what_is_not_there_is_404_and_what_is_too_much_is_400(client: httpx.Client, names: list[str]):
    missing = client.post("/flux-dev-lora", json=BODY | {"lora_id": "nobody"})
    assert (missing.status_code, missing.json()["type"]) == (404, "NotFound")
    assert "flux-character-nobody" in missing.json()["error"]
    assert client.delete("/loras/one").status_code == 204
    assert client.post("/flux-dev-lora", json=BODY | {"lora_name": "one"}).status_code == 404
