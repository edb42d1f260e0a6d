import filecmp

import numpy as np
import pytest

from models.errors import BadRequest, Cancelled
from models.runner import Call
from models.task import LoraUse, SwapFaces, TextToImage
from models.tiny.z_image import build_turbo


def task(**changes):
    base = {"seed": 1, "prompt": "a red fox", "width": 64, "height": 48, "steps": 3, "guidance": 0.0}
    return TextToImage(**(base | changes))


def picture(runner, **changes):
    (frames,) = runner.run(task(**changes), Call())
    return frames.pixels[0]


def values(runner, *tasks):
    return runner.pictures(tasks, [Call() for _ in tasks])


def test_a_task_gives_one_picture_of_the_asked_size(z_image):
    pixels = picture(z_image)
    assert (pixels.shape, pixels.dtype) == ((48, 64, 3), np.uint8)


def test_the_seed_and_the_prompt_decide_the_pixels(z_image):
    assert np.array_equal(picture(z_image), picture(z_image))
    assert not np.array_equal(picture(z_image), picture(z_image, seed=2))
    assert not np.array_equal(picture(z_image), picture(z_image, prompt="a blue whale"))


def test_the_runner_adds_nothing_to_the_plain_pipeline(z_image, folder):
    import torch
    from diffusers import ZImagePipeline

    pipe = ZImagePipeline.from_pretrained(folder)
    plain = pipe(
        "a red fox",
        width=64,
        height=48,
        num_inference_steps=3,
        guidance_scale=0.0,
        generator=torch.Generator().manual_seed(1),
        output_type="pt",
    )
    assert (values(z_image, task()) - plain.images).abs().max() < 1e-5


def test_guidance_brings_the_negative_prompt_into_play(z_image):
    assert np.array_equal(picture(z_image), picture(z_image, negative_prompt="fog"))
    assert not np.array_equal(picture(z_image, guidance=2.0), picture(z_image, guidance=2.0, negative_prompt="fog"))


@pytest.mark.parametrize("size", [2, 4])
def test_each_item_of_a_batch_equals_its_single_run(z_image, size):
    tasks = [task(seed=seed, prompt="fox " * (seed + 1), guidance=1.0) for seed in range(size)]
    together = values(z_image, *tasks)
    for index, alone in enumerate(tasks):
        assert (together[index] - values(z_image, alone)[0]).abs().max() < 1e-5


def test_the_same_task_may_run_again_since_prompts_are_not_written_into(z_image):
    once = task()
    (first,), (second,) = z_image.run(once, Call()), z_image.run(once, Call())
    assert np.array_equal(first.pixels, second.pixels)
    assert once.prompt == "a red fox"


def test_cancelling_stops_after_the_step_and_leaves_the_model_clean(z_image):
    before, seen, call = picture(z_image), [], Call()
    call.on_progress = lambda progress: (seen.append(progress.done), call.cancel())
    with pytest.raises(Cancelled):
        list(z_image.run(task(steps=50), call))
    assert seen == [1]
    assert np.array_equal(picture(z_image), before)


@pytest.mark.parametrize(
    ("changes", "names"),
    [({"width": 70, "height": 50}, "64x48"), ({"steps": 0}, "steps"), ({"loras": (LoraUse("mine"),)}, "'mine'")],
)
def test_what_cannot_be_done_is_refused_by_name(z_image, changes, names):
    with pytest.raises(BadRequest, match=names):
        picture(z_image, **changes)


def test_other_kinds_of_task_and_mixed_batches_are_refused(z_image):
    with pytest.raises(BadRequest, match="SwapFaces"):
        list(z_image.run(SwapFaces(source=np.zeros((8, 8, 3), np.uint8)), Call()))
    with pytest.raises(BadRequest, match="batch"):
        z_image.run_batch([task(), task(width=80)], [Call(), Call()])


def test_the_toy_is_the_same_bytes_each_time(folder, tmp_path):
    build_turbo(tmp_path)
    file = "transformer/diffusion_pytorch_model.safetensors"
    assert filecmp.cmp(folder / file, tmp_path / file, shallow=False)
