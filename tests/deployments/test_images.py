"""Defaults and spellings of the picture endpoints, as present callers know them."""

import json

import numpy as np
import pytest

from deployments import endpoints
from models.errors import BadRequest
from models.task import EditImage, FaceToImage, InpaintImage, LoraUse
from serve.bodies import parse
from tests.deployments.bodies import body, picture_url


def request(path, **changes):
    endpoint = endpoints()[path]
    words = {"prompt", "instruction", "scene"}
    given = {name: value for name, value in body(endpoint).items() if name in words or name not in endpoint.example}
    return parse(endpoint.request, json.dumps(given | changes).encode())


def task(path, **changes):
    plan = endpoints()[path].plan(request(path, **changes), 7)
    return plan.stages[0].task


def facts(path, **changes):
    return endpoints()[path].plan(request(path, **changes), 7).facts


@pytest.mark.parametrize(
    ("path", "width", "height", "steps", "seed"),
    [
        ("/flux", 1024, 1024, 4, 42),
        ("/flux-dev", 1024, 1024, 20, 42),
        ("/flux-dev-realism", 1024, 1024, 20, 42),
        ("/flux-pulid", 1024, 1024, 20, None),
        ("/flux-ipadapter-faceid", 1024, 1024, 20, 42),
        ("/sdxl-instantid", 1024, 1024, 20, 42),
        ("/sdxl-turbo", 1024, 1024, 4, 42),
        ("/sdxl-lightning", 1024, 1024, 4, 42),
        ("/qwen-image-2512", 1328, 1328, 50, None),
        ("/qwen-image-2512-fast", 1328, 1328, 4, None),
        ("/qwen-faceswap", 1328, 1328, 50, None),
        ("/qwen-faceswap-fast", 1328, 1328, 4, None),
        ("/z-image-simple", 1024, 1024, 4, 42),
        ("/z-image-danrisi", 1024, 1024, 8, 42),
        ("/z-image-realism", 1024, 1024, 4, 42),
    ],
)
def test_defaults_are_those_of_the_contract(path, width, height, steps, seed):
    asked = request(path)
    planned = task(path)
    assert (planned.width, planned.height, planned.steps, asked.seed) == (width, height, steps, seed)


@pytest.mark.parametrize(
    ("path", "steps"), [("/flux-dev-lora", 20), ("/flux-lora", 20), ("/z-image-lora", 9), ("/qwen-image-2512-lora", 50)]
)
def test_lora_endpoints_wear_what_is_named(path, steps):
    named = task(path, lora_name="style.safetensors", lora_strength=0.5, trigger_word="ohwx", prompt="a cat")
    assert (named.loras, named.prompt, named.steps) == ((LoraUse("style", 0.5),), "ohwx a cat", steps)
    assert task(path, lora_id="c0ffee").loras == (LoraUse("id:c0ffee", 1.0),)
    assert task(path, lora_id="c0ffee", lora_name="mine").loras == (LoraUse("mine", 1.0),)
    assert task(path, loras=[{"name": "a"}, {"name": "b", "strength": 0.3}]).loras == (LoraUse("a"), LoraUse("b", 0.3))
    with pytest.raises(BadRequest, match="lora_id or lora_name is required"):
        request(path)
    with pytest.raises(BadRequest, match="not both"):
        request(path, lora_name="a", loras=[{"name": "b"}])
    with pytest.raises(BadRequest, match="lora_name"):
        request(path, lora_name="../secret")


@pytest.mark.parametrize(
    ("path", "sent", "field", "value"),
    [
        ("/flux-pulid", "pulid_strength", "pulid_weight", 0.5),
        ("/flux-pulid", "pulid_start", "start_at", 0.25),
        ("/flux-pulid", "pulid_end", "end_at", 0.75),
        ("/qwen-image-edit-2511", "image", "source_image", None),
        ("/qwen-image-edit-2511", "prompt", "instruction", "rain"),
        ("/qwen-image-inpaint-2511", "image", "source_image", None),
        ("/qwen-image-inpaint-2511", "mask", "mask_image", None),
        ("/z-image-simple", "guidance_scale", "cfg", 2.0),
        ("/sdxl-instantid", "guidance_scale", "cfg", 2.0),
        ("/qwen-image-2512", "num_inference_steps", "steps", 7),
        ("/flux", "num_inference_steps", "steps", 7),
        ("/flux-dev", "guidance_scale", "guidance", 2.0),
    ],
)
def test_the_spellings_that_callers_send_reach_their_field(path, sent, field, value):
    value = picture_url() if value is None else value
    endpoint = endpoints()[path]
    given = {name: content for name, content in body(endpoint).items() if name != field}
    asked = parse(endpoint.request, json.dumps(given | {sent: value}).encode())
    assert getattr(asked, field) == value


def test_a_cfg_above_one_means_guidance_on_the_faces_of_flux_and_one_means_the_default():
    for path in ("/flux-pulid", "/flux-ipadapter-faceid"):
        assert task(path).guidance == 3.5
        assert task(path, cfg=1.0).guidance == 3.5
        assert task(path, cfg=2.5).guidance == 2.5
        assert task(path, cfg=2.5, guidance=4.0).guidance == 4.0
        assert task(path, guidance_scale=4.0).guidance == 4.0


def test_cfg_on_flux_is_true_guidance_with_the_house_negative():
    plain, guided = task("/flux-dev"), task("/flux-dev", cfg=3.5)
    assert (plain.true_cfg, guided.true_cfg, guided.guidance) == (1.0, 3.5, 3.5)
    assert "blurry" in guided.negative_prompt
    assert task("/flux-dev", negative_prompt="fog").negative_prompt == "fog"


def test_cfg_on_z_image_counts_from_one_as_elsewhere():
    assert [task("/z-image-simple", cfg=cfg).guidance for cfg in (0, 1, 3)] == [0, 0, 2]


def test_faces_carry_their_method_and_strengths():
    pulid = task("/flux-pulid", pulid_weight=0.6, start_at=0.1, end_at=0.9)
    assert isinstance(pulid, FaceToImage)
    assert (pulid.method, pulid.strength, pulid.start, pulid.end) == ("pulid", 0.6, 0.1, 0.9)
    assert task("/flux-ipadapter-faceid").strength == 0.8
    instantid = task("/sdxl-instantid", controlnet_strength=0.3, sampler_name="dpmpp_2m", scheduler="karras")
    assert (instantid.method, instantid.controlnet_strength, instantid.sampler, instantid.scheduler) == (
        "instantid",
        0.3,
        "dpmpp_2m",
        "karras",
    )
    with pytest.raises(BadRequest, match="start_at"):
        request("/flux-pulid", start_at=0.9, end_at=0.1)


@pytest.mark.parametrize("name", ["RealVisXL_V4.0", "RealVisXL_V4.0.safetensors"])
def test_sdxl_checkpoints_go_by_name(name):
    assert task("/sdxl-instantid", sdxl_checkpoint=name).checkpoint == "RealVisXL_V4.0"
    assert task("/sdxl-instantid").checkpoint is None


def test_an_unknown_checkpoint_or_sampler_is_refused_with_the_known_ones():
    for changes, words in (({"sdxl_checkpoint": "v5"}, "intorealism-xl"), ({"sampler_name": "magic"}, "euler_ancestral")):
        with pytest.raises(BadRequest, match=words):
            task("/sdxl-instantid", **changes)


@pytest.mark.parametrize(("path", "steps"), [("/sdxl-turbo", 5), ("/sdxl-turbo", 0), ("/sdxl-lightning", 3), ("/sdxl-lightning", 8)])
def test_distilled_checkpoints_keep_their_steps(path, steps):
    with pytest.raises(BadRequest, match="steps"):
        request(path, steps=steps)


def test_the_aspect_ratio_wins_over_width_and_height():
    wide = task("/qwen-image-2512", aspect_ratio="16:9", width=512, height=512)
    assert (wide.width, wide.height) == (1664, 928)
    assert (task("/flux", aspect_ratio="9:16").width, task("/flux", aspect_ratio="9:16").height) == (832, 1472)
    with pytest.raises(BadRequest, match="aspect_ratio"):
        request("/qwen-image-2512", aspect_ratio="5:1")


def test_lightning_brings_its_steps_and_guidance_unless_they_are_given():
    fast = task("/qwen-image-2512", use_lightning_lora=True)
    assert (fast.checkpoint, fast.steps, fast.guidance) == ("lightning", 4, 1.0)
    assert task("/qwen-image-2512", use_lightning_lora=True, steps=6).steps == 6
    assert task("/qwen-image-2512").checkpoint is None
    assert task("/qwen-image-edit-2511", use_lightning_lora=True).steps == 4


def test_styles_go_before_the_prompt_and_into_the_headers():
    prompts = {
        style: task("/z-image-realism", style=style, prompt="a cat").prompt for style in ("snapshot", "instagram", "cinematic", "candid")
    }
    assert len(set(prompts.values())) == 4
    assert all(prompt.endswith(" a cat") for prompt in prompts.values())
    assert facts("/z-image-realism", style="candid")["style"] == "candid"
    assert facts("/flux-dev-realism", nsfw=True)["nsfw_mode"] == "true"
    assert task("/flux-dev-realism", prompt="a cat").prompt == "Ultra realistic, a cat"
    assert task("/flux-dev-realism", prompt="Ultra realistic cat").prompt == "Ultra realistic cat"


def test_an_edit_has_the_size_of_its_source_and_takes_more_pictures():
    edit = task("/qwen-image-edit-2511", reference_images=[picture_url()])
    assert isinstance(edit, EditImage)
    assert (edit.width, edit.height, len(edit.images)) == (192, 192, 2)
    inpaint = task("/qwen-image-inpaint-2511")
    assert isinstance(inpaint, InpaintImage)
    assert inpaint.mask.shape == (192, 192)
    assert inpaint.mask.dtype == np.uint8


def test_klein_takes_the_shape_of_its_first_reference_unless_told():
    edit = task("/flux2-klein", reference_images=[picture_url()])
    assert (edit.width, edit.height) == (192, 192)
    assert task("/flux2-klein", reference_images=[picture_url()], width=256).width == 256
    assert task("/flux2-klein").width == 1024


@pytest.mark.parametrize(
    ("changes", "resolution", "most"),
    [
        ({}, 1080, 4000),
        ({"resolution": "fixed"}, 1080, 4000),
        ({"resolution": "720"}, 720, 4000),
        ({"scale": 2}, 384, 4000),
        ({"scale": 4, "max_resolution": 500}, 768, 500),
        ({"max_resolution_2": 900}, 1080, 900),
    ],
)
def test_the_size_of_an_upscale(changes, resolution, most):
    planned = task("/seedvr2", **changes)
    assert (planned.resolution, planned.max_resolution) == (resolution, most)
    assert request("/seedvr2").seed == 4105349922


def test_an_upscale_is_sized_in_one_way():
    with pytest.raises(BadRequest, match="not by both"):
        request("/seedvr2", scale=2, resolution=720)
