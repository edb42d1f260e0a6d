"""Paths that are gone, paths that wait for an operator, and graphs, against a real server."""

import httpx
import pytest

from models import errors
from tests.conftest import Served

pytestmark = pytest.mark.ray

SMALL = {"prompt": "waves", "width": 128, "height": 128, "length": 5, "steps": 1}


@pytest.mark.parametrize(
    ("path", "replacement"),
    [
        ("/flux-instantid", "/sdxl-instantid"),
        ("/z-image-instantid", "/sdxl-instantid"),
        ("/z-image-pulid", "/flux-pulid"),
        ("/z-image-pulid-lora", "/flux-pulid"),
    ],
)
def test_a_retired_path_says_why_and_what_to_call(served: Served, path: str, replacement: str):
    reply = httpx.post(served.url + path, json={"prompt": "a"})
    told = reply.json()
    assert (reply.status_code, told["type"], told["replacement"]) == (410, errors.Retired.__name__, replacement)
    assert "retired" in told["error"]
    assert replacement in told["error"]


def test_wan2_still_answers_as_the_clip_it_was(served: Served):
    reply = httpx.post(f"{served.url}/wan2", json=SMALL, timeout=120)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "image/webp"
    assert reply.headers["x-seed"] == "839327983272663"
    assert reply.headers["x-frames"] == "5"


def test_an_endpoint_that_is_not_set_up_says_what_is_needed(served: Served):
    reply = httpx.post(f"{served.url}/flux2-pro", json={"prompt": "a"})
    assert (reply.status_code, reply.json()["type"]) == (501, "NotConfigured")
    assert "key" in reply.json()["error"]


def test_a_graph_is_answered_by_the_endpoint_it_means(served: Served):
    graph = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "wan2.1_t2v_1.3B_fp16.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "waves"}},
        "3": {"class_type": "EmptyHunyuanLatentVideo", "inputs": {"width": 128, "height": 128, "length": 5}},
        "4": {"class_type": "KSampler", "inputs": {"steps": 1, "cfg": 6, "seed": 11, "positive": ["2", 0]}},
    }
    reply = httpx.post(f"{served.url}/workflow", json={"workflow": graph}, timeout=120)
    assert reply.status_code == 200, reply.text
    facts = {name: reply.headers[f"x-{name}"] for name in ("endpoint", "seed", "frames", "model")}
    assert facts == {"endpoint": "/wan2.6", "seed": "11", "frames": "5", "model": "Wan2.1-T2V-1.3B"}


def test_a_graph_that_means_nothing_is_refused_with_what_was_found(served: Served):
    graph = {"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}}}
    reply = httpx.post(f"{served.url}/workflow", json={"workflow": graph})
    assert reply.status_code == 400
    assert "sd15.safetensors" in reply.json()["error"]


def test_a_graph_for_a_model_that_is_not_served_here_says_so(served: Served):
    graph = {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-dev.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
    }
    reply = httpx.post(f"{served.url}/workflow", json={"workflow": graph})
    assert reply.status_code == 501, reply.text
    assert "flux-dev" in reply.json()["error"]
