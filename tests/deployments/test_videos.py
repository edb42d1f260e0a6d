"""Defaults and spellings of the video endpoints, and what a request for longer or smoother clips asks of a model."""

import json

import pytest

from deployments import deployments, endpoints
from models.errors import BadRequest
from models.task import LoraUse
from serve.bodies import parse
from tests.deployments.bodies import body, clip_url, picture_url

VIDEOS = {path: endpoint for path, endpoint in endpoints().items() if path.startswith("/wan")}
each = pytest.mark.parametrize("path", VIDEOS)


def plan(path, **changes):
    endpoint = VIDEOS[path]
    return endpoint.plan(parse(endpoint.request, json.dumps(body(endpoint) | changes).encode()), 7)


def task(path, **changes):
    return plan(path, **changes).stages[0].task


@pytest.mark.parametrize(
    ("path", "width", "height", "frames", "fps", "steps", "guidance", "output"),
    [
        ("/wan2.6", 832, 480, 33, 16, 30, 6.0, "webp"),
        ("/wan2.6-lora", 832, 480, 33, 16, 30, 6.0, "webp"),
        ("/wan2-lora", 832, 480, 33, 16, 30, 6.0, "webp"),
        ("/wan2.6-r2v", 832, 480, 33, 16, 30, 6.0, "webp"),
        ("/wan2.6-i2v", 832, 480, 33, 16, 30, 6.0, "webp"),
        ("/wan2.6-i2v-faceswap", 832, 480, 33, 16, 30, 6.0, "mp4"),
        ("/wan22-i2v", 512, 768, 33, 16, 20, 3.5, "webp"),
        ("/wan22-i2v-faceswap", 832, 480, 33, 16, 30, 5.0, "mp4"),
    ],
)
def test_defaults_are_those_of_the_contract(path, width, height, frames, fps, steps, guidance, output):
    made = task(path)
    assert (made.width, made.height, made.num_frames, made.fps, made.steps, made.guidance) == (width, height, frames, fps, steps, guidance)
    assert (made.seconds, made.shown_fps, made.quality_gate) == (None, None, False)
    assert plan(path).encoding.format == output


@each
@pytest.mark.parametrize(("ratio", "size"), [("9:16", (480, 832)), ("1:1", (640, 640)), ("16:9", (832, 480))])
def test_the_aspect_ratio_wins_over_width_and_height(path, ratio, size):
    made = task(path, aspect_ratio=ratio, width=256, height=256)
    assert (made.width, made.height) == size


@each
def test_upscaling_is_one_more_stage_and_costs_by_the_pixel(path):
    plain, small, large = (plan(path, aspect_ratio="1:1", **({"upscale": side} if side else {})) for side in (None, 640, 1280))
    assert [stage.deployment for stage in small.stages[:-1]] == [stage.deployment for stage in plain.stages]
    assert (small.stages[-1].deployment, small.stages[-1].task.resolution, small.stages[-1].task.seed) == ("seedvr2", 640, 7)
    assert large.units[-1] == pytest.approx(4 * small.units[-1])
    assert small.units[-1] == pytest.approx(33 * 640 * 640 / 1024**2)
    with pytest.raises(BadRequest, match="upscale"):
        plan(path, upscale=2000)


@each
@pytest.mark.parametrize("seconds", [2, 4, 6, 8])
@pytest.mark.parametrize("fps", [16, 24, 30])
def test_a_duration_is_made_at_the_models_rate_and_shown_at_the_asked_one(path, seconds, fps):
    planned = plan(path, duration_s=seconds, fps=fps)
    made = planned.stages[0].task
    native = 24 if planned.stages[0].deployment == "wan-ti2v" else 16
    assert (made.fps, made.num_frames, made.seconds, made.shown_fps) == (native, seconds * native + 1, seconds, fps)
    assert (planned.facts["frames"], planned.facts["fps"], planned.encoding.fps) == (seconds * fps, fps, fps)
    assert planned.units[0] == pytest.approx(plan(path).units[0] * (seconds * native + 1) / 33)
    assert all(units == seconds * fps for units in planned.units[1:])


@each
@pytest.mark.parametrize("seconds", [0, 3, 10])
def test_other_durations_are_refused(path, seconds):
    with pytest.raises(BadRequest, match="duration_s"):
        plan(path, duration_s=seconds)


@each
def test_sides_that_are_multiples_of_16_are_taken(path):
    assert (task(path, width=720, height=400).width, task(path, width=720, height=400).height) == (720, 400)
    with pytest.raises(BadRequest, match="width"):
        plan(path, width=721)


@each
def test_the_old_and_the_new_name_of_the_length_are_the_same(path):
    assert [task(path, **{name: 20}).num_frames for name in ("length", "num_frames")] == [17, 17]


@each
def test_gate_and_preview_reach_the_model(path):
    made = task(path, quality_gate=True, preview=True)
    assert (made.quality_gate, made.preview) == (True, True)


@pytest.mark.parametrize("path", ["/wan2.6-lora", "/wan2-lora", "/wan22-i2v", "/wan22-i2v-faceswap"])
def test_lora_endpoints_wear_what_is_named(path):
    endpoint = VIDEOS[path]
    assert endpoint.lora
    given = {name: value for name, value in body(endpoint).items() if name != "lora_name"} | {"prompt": "a cat"}

    def made(**changes):
        return endpoint.plan(parse(endpoint.request, json.dumps(given | changes).encode()), 7).stages[0].task

    named = made(lora_name="style.safetensors", lora_strength=1.5, trigger_word="ohwx")
    assert (named.loras, named.prompt) == ((LoraUse("style", 1.5),), "ohwx a cat")
    assert made(lora_id="c0ffee").loras == (LoraUse("id:c0ffee", 1.0),)
    if path.endswith("-lora"):
        with pytest.raises(BadRequest, match="lora_id or lora_name is required"):
            made()
    else:
        assert made().loras == ()


def test_each_model_has_its_own_negative_prompt():
    assert task("/wan2.6").negative_prompt is None  # the runner's: the authors' list
    assert "deformed" in task("/wan22-i2v").negative_prompt
    assert task("/wan22-i2v", negative_prompt="fog").negative_prompt == "fog"


def test_wan22_has_a_prompt_for_callers_without_one():
    assert len(task("/wan22-i2v", prompt="").prompt) > 10
    assert task("/wan22-i2v", prompt="she waves").prompt == "she waves"


def test_wan22_tells_the_source_from_the_face():
    endpoint = VIDEOS["/wan22-i2v-faceswap"]
    given = {"source_image": picture_url(), "reference_image": picture_url()}
    first, second = endpoint.plan(parse(endpoint.request, json.dumps(given).encode()), 7).stages
    assert (first.deployment, second.deployment) == ("wan-a14b", "face-swap")
    assert first.task.image.shape == second.task.source.shape == (192, 192, 3)
    with pytest.raises(BadRequest, match="source_image is required"):
        parse(endpoint.request, json.dumps({"reference_image": picture_url()}).encode())


@pytest.mark.parametrize(
    ("changes", "references"),
    [
        ({"reference_videos": [clip_url()]}, 3),
        ({"reference_videos": clip_url()}, 3),
        ({"reference_video": clip_url()}, 3),
        ({"reference_videos": [clip_url()] * 3}, 9),
        ({"reference_videos": [clip_url()] * 3, "length": 13}, 3),
        ({"reference_images": [picture_url()]}, 1),
        ({"reference_images": [picture_url()] * 2, "reference_videos": [clip_url()]}, 5),
    ],
)
def test_references_come_from_pictures_and_from_stills_of_clips(changes, references):
    endpoint = VIDEOS["/wan2.6-r2v"]
    planned = endpoint.plan(parse(endpoint.request, json.dumps({"prompt": "a walk"} | changes).encode()), 7)
    assert len(planned.stages[0].task.references) == references
    given = sum(len(value) if isinstance(value, list) else 1 for name, value in changes.items() if name != "length")
    assert planned.facts["reference_count"] == given


def test_stills_are_spread_over_the_clip():
    shades = [int(still.mean()) for still in task("/wan2.6-r2v").references]
    assert shades == sorted(shades)
    assert shades[-1] - shades[0] > 60


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "reference_videos or reference_images is required"),
        ({"reference_videos": [clip_url()] * 4}, "reference_videos"),
        ({"reference_images": [picture_url()] * 3, "length": 5}, "at most 2 references"),
        ({"reference_images": ["rubbish"]}, "reference_images"),
    ],
)
def test_references_that_cannot_be_used_are_refused(changes, words):
    endpoint = VIDEOS["/wan2.6-r2v"]
    with pytest.raises(BadRequest, match=words):
        endpoint.plan(parse(endpoint.request, json.dumps({"prompt": "a walk"} | changes).encode()), 7)


def test_a_long_and_large_clip_is_refused():
    with pytest.raises(BadRequest, match="too much for one card"):
        plan("/wan2.6", width=2048, height=2048, duration_s=8)


def test_memory_is_what_was_measured():
    assert {name: deployments()[name].gpu.vram_gb for name in ("wan-t2v", "wan-ti2v")} == {"wan-t2v": 24, "wan-ti2v": 44}
