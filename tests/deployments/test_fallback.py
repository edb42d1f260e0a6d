"""What answers in a model's place: rules, what fal is sent and what it costs, and that a pod's graphs mean what they were made from."""

import base64
import io
import json

import pytest
from PIL import Image as PilImage

from deployments import endpoints
from deployments.spec.comfy import Graph
from deployments.spec.fallback import BODY_WORDS, FalModel, without_body_words
from deployments.spec.request import MarkedRequest
from deployments.workflow import meant_by, parameters
from models.lora.holding import loras_of
from tests.deployments.bodies import body

FAL = {path: e for path, e in endpoints().items() if e.fal is not None}
COMFY = {path: e for path, e in endpoints().items() if e.comfyui is not None}


def plan_of(endpoint, **changes):
    return endpoint.plan(endpoint.request(**body(endpoint) | changes), 2**40 + 7)


def input_of(path, **changes):
    return FAL[path].fal.arguments(plan_of(FAL[path], **changes).stages[0].task)


def test_only_single_models_without_loras_have_a_fallback():
    for endpoint in [*FAL.values(), *COMFY.values()]:
        plan = plan_of(endpoint)
        assert len(plan.stages) == 1
        assert not endpoint.lora
        assert not loras_of(plan.stages[0].task)


def test_what_is_always_nsfw_has_none_at_fal():
    adult = [e for e in endpoints().values() if e.always_nsfw]
    assert [e.path for e in adult] == ["/z-image-nsfw"]
    assert all(e.fal is None and e.comfyui is not None for e in adult)


def test_a_reference_goes_to_pulid_whatever_carries_the_face_here():
    paths = {e.path for e in FAL.values() if "reference_image" in e.request.model_fields and e.fal.id == "fal-ai/flux-pulid"}
    assert paths == {"/flux-pulid", "/flux-ipadapter-faceid", "/sdxl-instantid"}


@pytest.mark.parametrize("path", FAL)
def test_fal_gets_plain_json_within_its_limits_and_keeps_its_safety_checker(path):
    found = input_of(path)
    assert json.loads(json.dumps(found)) == found
    assert 0 <= found["seed"] < 2**32
    assert FAL[path].fal.usd(plan_of(FAL[path]).stages[0].task) > 0
    if path != "/seedvr2":
        assert found["enable_safety_checker"] is True
        assert found["num_images"] == 1
    for name in ("reference_image_url", "image_url"):
        if name in found:
            kind, _, data = found[name].partition(";base64,")
            assert PilImage.open(io.BytesIO(base64.b64decode(data))).format == ("PNG" if kind == "data:image/png" else "JPEG")


@pytest.mark.parametrize(
    ("path", "sent", "expected"),
    [
        ("/flux-dev", {"steps": 28, "guidance": 2.5}, {"num_inference_steps": 28, "guidance_scale": 2.5}),
        ("/flux-dev", {"steps": 90}, {"num_inference_steps": 50}),
        ("/flux", {"steps": 4, "guidance": 0}, {"num_inference_steps": 4, "guidance_scale": 1.0}),
        (
            "/z-image-simple",
            {"steps": 20, "aspect_ratio": "9:16"},
            {"num_inference_steps": 8, "image_size": {"width": 832, "height": 1472}},
        ),
        (
            "/qwen-image-2512-fast",
            {"negative_prompt": "blur"},
            {"num_inference_steps": 20, "guidance_scale": 3.0, "negative_prompt": "blur"},
        ),
        ("/flux-pulid", {"steps": 20, "pulid_weight": 1.4, "start_at": 0.2}, {"id_weight": 1.0, "start_step": 4, "guidance_scale": 3.5}),
        ("/sdxl-instantid", {"cfg": 7}, {"guidance_scale": 5.0, "id_weight": 0.8, "start_step": 0}),
        ("/seedvr2", {"scale": 2}, {"upscale_mode": "factor", "upscale_factor": 2.0}),
    ],
)
def test_the_input_says_what_was_asked_within_limits(path, sent, expected):
    found = input_of(path, **sent)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("path", "size", "usd"),
    [
        ("/flux", (1024, 1024), 0.003),
        ("/flux-dev", (512, 512), 0.025),
        ("/flux-dev", (1024, 1040), 0.05),
        ("/flux-dev", (2048, 2048), 0.1),
        ("/flux-pulid", (1024, 1024), 0.0333),
        ("/z-image-simple", (1024, 1024), 0.005),
    ],
)
def test_prices_are_by_whole_megapixels(path, size, usd):
    plan = plan_of(FAL[path], width=size[0], height=size[1])
    assert FAL[path].fal.usd(plan.stages[0].task) == pytest.approx(usd)


@pytest.mark.parametrize(
    "changes", [{"id": "flux"}, {"id": "Fal/X"}, {"usd_per_image": 1.0}, {"usd_per_megapixel": None}, {"usd_per_megapixel": 0.0}]
)
def test_a_model_without_a_sound_id_or_price_is_refused(changes):
    with pytest.raises(ValueError, match=r"owner/model|one price"):
        FalModel(**{"id": "fal-ai/flux/dev", "usd_per_megapixel": 0.025, "arguments": dict} | changes)


def test_body_words_are_taken_out_of_a_prompt_and_nothing_else():
    prompt = "a woman in a Bikini, busty, on a beach, chestnut hair, her curvy silhouette"
    assert without_body_words({"prompt": prompt, "seed": 1}) == {
        "prompt": "a woman in a, on a beach, chestnut hair, her silhouette",
        "seed": 1,
    }
    assert without_body_words({"prompt": "a red fox"}) == {"prompt": "a red fox"}
    assert without_body_words({"prompt": BODY_WORDS})["prompt"] == ""


@pytest.mark.parametrize("path", COMFY)
def test_a_graph_for_the_pod_means_the_endpoint_it_was_made_for(path):
    """By the rules of /workflow: the endpoint, and every number that it reads from graphs."""
    endpoint = COMFY[path]
    task = plan_of(endpoint, prompt="a red fox", aspect_ratio="2:3", steps=5).stages[0].task
    pictures = endpoint.comfyui.pictures(task)
    workflow = endpoint.comfyui.graph(task, [f"picture-{index}.png [temp]" for index in range(len(pictures))])
    graph = Graph(json.loads(json.dumps(workflow)))
    alike = {"/z-image-danrisi": "/z-image-simple", "/z-image-realism": "/z-image-simple", "/z-image-nsfw": "/z-image-simple"}
    assert meant_by(graph) == alike.get(path, path)
    found = parameters(graph)
    assert found["prompt"].endswith("a red fox")
    assert (found["width"], found["height"], found["steps"], found["seed"]) == (task.width, task.height, 5, 2**40 + 7)
    kinds = [node["class_type"] for node in workflow.values()]
    assert kinds.count("PreviewImage") == 1
    assert "SaveImage" not in kinds
    assert len(pictures) == kinds.count("LoadImage") == len(found.get("pictures", ()))
    links = [value for node in workflow.values() for value in node["inputs"].values() if isinstance(value, list)]
    assert {link[0] for link in links} <= set(workflow)


def test_a_graph_keeps_the_face_its_strengths_and_the_checkpoint():
    endpoint = COMFY["/sdxl-instantid"]
    plan = plan_of(endpoint, sdxl_checkpoint="RealVisXL_V4.0", instantid_strength=0.7, controlnet_strength=0.6, cfg=6.5, scheduler="karras")
    task = plan.stages[0].task
    found = parameters(Graph(endpoint.comfyui.graph(task, ["face.png"])))
    assert (found["instantid_strength"], found["controlnet_strength"], found["cfg"]) == (0.7, 0.6, 6.5)
    assert found["sdxl_checkpoint"] == "RealVisXL_V4.0.safetensors"
    assert endpoint.comfyui.pictures(task)[0] is task.face


def test_only_a_given_flag_is_a_mark():
    class Asked(MarkedRequest):
        pass

    assert [Asked(**sent).nsfw_mark for sent in ({}, {"nsfw": None}, {"nsfw": False}, {"nsfw": True})] == [None, None, False, True]
