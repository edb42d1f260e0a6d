"""ComfyUI graphs: which endpoint they mean, and what is read from them."""

import json

import pytest

from deployments import endpoints
from deployments.spec.comfy import Graph
from deployments.workflow import meant_by, parameters
from models.errors import BadRequest
from serve.bodies import parse
from tests.deployments.bodies import picture_url


def graph(*nodes, model="", **sampler):
    """A graph of a loader of `model`, two prompts, a canvas, a sampler, and the given (class, inputs)."""
    base = [
        ("UNETLoader", {"unet_name": model}),
        ("CLIPTextEncode", {"text": "a negative cat", "clip": ["1", 0]}),
        ("CLIPTextEncode", {"text": "blurry", "clip": ["1", 0]}),
        ("EmptySD3LatentImage", {"width": 512, "height": 768, "batch_size": 1}),
        ("FluxGuidance", {"guidance": 2.5, "conditioning": ["2", 0]}),
        ("KSampler", {"steps": 9, "cfg": 1.5, "seed": 11, "positive": ["5", 0], "negative": ["3", 0], "model": ["1", 0]} | sampler),
    ]
    return {str(index + 1): {"class_type": kind, "inputs": inputs} for index, (kind, inputs) in enumerate([*base, *nodes])}


def lora(name, strength=1.0):
    return ("LoraLoaderModelOnly", {"lora_name": name, "strength_model": strength, "model": ["1", 0]})


@pytest.mark.parametrize(
    ("workflow", "path"),
    [
        (graph(model="qwen_image_2512_fp8.safetensors"), "/qwen-image-2512"),
        (graph(model="qwen_image_2512_fp8.safetensors", steps=4), "/qwen-image-2512-fast"),
        (graph(lora("Qwen-Image-Lightning-4steps.safetensors"), model="qwen_image_2512.safetensors"), "/qwen-image-2512-fast"),
        (graph(lora("qwen-character-7.safetensors"), model="qwen_image_2512.safetensors"), "/qwen-image-2512-lora"),
        (graph(model="qwen_image_edit_2511_bf16.safetensors"), "/qwen-image-edit-2511"),
        (graph(("LoadImageMask", {}), model="qwen_image_edit_2511_bf16.safetensors"), "/qwen-image-inpaint-2511"),
        (graph(model="wan2.6_t2v.safetensors"), "/wan2.6"),
        (graph(("WanReferenceVideo", {}), model="wan26.safetensors"), "/wan2.6-r2v"),
        (graph(model="z_image_turbo_bf16.safetensors"), "/z-image-simple"),
        (graph(("ClownsharKSampler_Beta", {}), model="z_image_turbo_bf16.safetensors"), "/z-image-danrisi"),
        (graph(("BetaSamplingScheduler", {}), model="z-image-turbo.safetensors"), "/z-image-danrisi"),
        (graph(("ApplyPulidFlux", {}), model="z_image_turbo_bf16.safetensors"), "/flux-pulid"),
        (graph(("ApplyInstantID", {}), model="z_image_turbo_bf16.safetensors"), "/sdxl-instantid"),
        (graph(model="flux1-dev.safetensors"), "/flux-dev"),
        (graph(("ApplyFluxIPAdapter", {}), model="flux1-dev.safetensors"), "/flux-ipadapter-faceid"),
        (graph(("ApplyPulidFlux", {}), model="flux1-dev.safetensors"), "/flux-pulid"),
        (graph(lora("flux-character-7.safetensors"), model="flux1-dev.safetensors"), "/flux-dev-lora"),
        (graph(model="flux1-schnell-fp8.safetensors"), "/flux"),
        (graph(("ApplyInstantID", {}), ("CheckpointLoaderSimple", {"ckpt_name": "sd_xl_base_1.0.safetensors"})), "/sdxl-instantid"),
        (graph(("SeedVR2VideoUpscaler", {})), "/seedvr2"),
    ],
)
def test_a_graph_means_an_endpoint(workflow, path):
    assert meant_by(Graph(workflow)) == path


def test_a_graph_that_none_means_is_refused_with_what_was_found():
    with pytest.raises(BadRequest, match=r"classes: .*ksampler.*models: sd15.safetensors"):
        meant_by(Graph(graph(model="sd15.safetensors")))


def test_prompts_are_those_that_the_sampler_is_linked_to():
    found = parameters(Graph(graph(model="flux1-dev.safetensors")))
    assert (found["prompt"], found["negative_prompt"]) == ("a negative cat", "blurry")


def test_prompts_without_links_are_told_apart_by_their_words():
    found = parameters(Graph(graph(positive=None, negative=None)))
    assert (found["prompt"], found["negative_prompt"]) == ("blurry", "a negative cat")


def test_sizes_samplers_and_strengths_are_read():
    nodes = [
        ("ApplyInstantID", {"weight": 0.6, "controlnet_conditioning_scale": 0.4}),
        ("CheckpointLoaderSimple", {"ckpt_name": "RealVisXL_V4.0.safetensors"}),
        ("RandomNoise", {"noise_seed": 5}),
    ]
    found = parameters(Graph(graph(*nodes)))
    wanted = {"width": 512, "height": 768, "steps": 9, "cfg": 1.5, "seed": 11, "guidance": 2.5}
    wanted |= {"instantid_strength": 0.6, "controlnet_strength": 0.4, "sdxl_checkpoint": "RealVisXL_V4.0.safetensors"}
    assert found.items() >= wanted.items()


def plan(workflow, **more):
    endpoint = endpoints()["/workflow"]
    request = parse(endpoint.request, json.dumps({"workflow": workflow, **more}).encode())
    return endpoint.plan(request, request.seed)


def test_the_plan_is_that_of_the_endpoint_it_means():
    planned = plan(graph(model="flux1-dev.safetensors"))
    assert planned.facts["endpoint"] == "/flux-dev"
    (stage,) = planned.stages
    assert stage.deployment == "flux-dev"
    task = stage.task
    assert (task.prompt, task.width, task.height, task.steps, task.seed) == ("a negative cat", 512, 768, 9, 11)
    assert (task.true_cfg, task.guidance) == (1.5, 2.5)
    assert plan(graph(model="flux1-dev.safetensors"), prompt="a dog").stages[0].task.prompt == "a dog"


def test_pictures_and_loras_go_along():
    workflow = graph(("ApplyPulidFlux", {"weight": 0.5}), ("LoadImage", {"image": picture_url()}), model="flux1-dev.safetensors")
    task = plan(workflow).stages[0].task
    assert (task.face.shape, task.strength) == ((192, 192, 3), 0.5)
    workflow = graph(lora("styles/film.safetensors", 0.4), model="z_image_turbo.safetensors")
    assert [(use.name, use.strength) for use in plan(workflow).stages[0].task.loras] == [("film", 0.4)]


@pytest.mark.parametrize(
    ("workflow", "words"),
    [
        ({}, "1 to 500 nodes"),
        ({"nodes": []}, "API Format"),
        ({"1": {"inputs": {}}}, "'1'"),
        ({"1": "text"}, "class_type"),
        (graph(model="z_image_turbo.safetensors", steps=4000), "/z-image-simple.*steps"),
        (graph(("ApplyPulidFlux", {}), model="flux1-dev.safetensors"), "/flux-pulid.*reference_image"),
        (graph(("ApplyPulidFlux", {}), ("LoadImage", {"image": "face.png"}), model="flux1-dev.safetensors"), "reference_image"),
    ],
)
def test_what_cannot_be_read_or_made_is_refused_with_the_reason(workflow, words):
    with pytest.raises(BadRequest, match=words):
        plan(workflow)
