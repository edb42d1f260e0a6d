import time

import numpy as np
import pytest

from models.errors import BadRequest, Cancelled, DeadlineExceeded
from models.runner import Call, Frames
from models.task import LoraUse, SwapFaces, TextToImage


def task(**changes):
    base = {"seed": 1, "prompt": "a red fox", "width": 64, "height": 48, "steps": 3, "guidance": 3.5}
    return TextToImage(**(base | changes))


def picture(runner, **changes):
    (frames,) = runner.run(task(**changes), Call())
    return frames.pixels[0]


def values(runner, *tasks):
    return runner.pictures(tasks, [Call() for _ in tasks])


def test_a_task_gives_one_picture_of_the_asked_size(dev):
    (frames,) = dev.run(task(), Call())
    assert frames.pixels.shape == (1, 48, 64, 3)
    assert frames.pixels.dtype == np.uint8
    assert frames.times_s.tolist() == [0.0]


def test_the_seed_decides_the_pixels(dev):
    assert np.array_equal(picture(dev, seed=0), picture(dev, seed=0))
    assert not np.array_equal(picture(dev, seed=0), picture(dev, seed=1))


def test_the_runner_adds_nothing_to_the_plain_pipeline(dev, dev_folder):
    import torch
    from diffusers import FluxPipeline

    pipe = FluxPipeline.from_pretrained(dev_folder)
    plain = pipe(
        "a red fox", width=64, height=48, num_inference_steps=3, generator=torch.Generator().manual_seed(1), output_type="pt"
    ).images
    assert (values(dev, task()) - plain).abs().max() < 1e-5


def test_guidance_is_embedded_in_dev_and_ignored_by_schnell(dev, schnell):
    assert not np.array_equal(picture(dev, guidance=1.0), picture(dev, guidance=7.0))
    assert np.array_equal(picture(schnell, guidance=0.0), picture(schnell, guidance=7.0))


def test_true_cfg_is_that_of_the_pipeline_and_needs_no_negative_prompt(dev):
    assert not np.array_equal(picture(dev), picture(dev, true_cfg=3.0))
    assert np.array_equal(picture(dev, true_cfg=3.0), picture(dev, true_cfg=3.0, negative_prompt=""))
    assert not np.array_equal(picture(dev, true_cfg=3.0), picture(dev, true_cfg=3.0, negative_prompt="blurry"))
    assert np.array_equal(picture(dev), picture(dev, negative_prompt="blurry"))


@pytest.mark.parametrize("size", [2, 4])
def test_each_item_of_a_batch_equals_its_single_run(dev, size):
    tasks = [task(seed=seed, prompt="fox " * (seed + 1), true_cfg=2.0, negative_prompt="x" * seed) for seed in range(size)]
    together = values(dev, *tasks)
    for index, alone in enumerate(tasks):
        assert (together[index] - values(dev, alone)[0]).abs().max() < 1e-5


def test_a_batch_shares_size_steps_guidance_and_loras(dev):
    assert dev.batch_key(task(seed=1, prompt="a")) == dev.batch_key(task(seed=2, prompt="b", negative_prompt="c"))
    for other in ({"width": 80}, {"steps": 2}, {"guidance": 1.0}, {"true_cfg": 2.0}, {"loras": (LoraUse("x"),)}):
        assert dev.batch_key(task()) != dev.batch_key(task(**other))
        with pytest.raises(BadRequest, match="batch"):
            dev.run_batch([task(), task(**other)], [Call(), Call()])


def test_progress_is_reported_each_step(dev):
    seen = []
    call = Call(on_progress=seen.append)
    list(dev.run(task(), call))
    assert [(p.stage, p.done, p.total) for p in seen] == [("denoise", n, 3) for n in (1, 2, 3)]
    assert call.seconds["denoise"] > 0
    assert call.seconds["decode"] > 0


def test_cancelling_stops_after_the_step_and_leaves_the_model_clean(dev):
    before = picture(dev)
    seen = []
    call = Call()
    call.on_progress = lambda progress: (seen.append(progress.done), call.cancel())
    with pytest.raises(Cancelled):
        list(dev.run(task(steps=50), call))
    assert seen == [1]
    assert np.array_equal(picture(dev), before)


def test_a_call_that_is_late_never_starts(dev):
    seen = []
    with pytest.raises(DeadlineExceeded):
        list(dev.run(task(), Call(deadline=time.time() - 1, on_progress=seen.append)))
    assert seen == []


def test_one_cancelled_item_does_not_disturb_the_rest_of_its_batch(dev):
    gone = Call()
    gone.on_progress = lambda _: gone.cancel()
    tasks = [task(seed=1), task(seed=2), task(seed=3)]
    first, stopped, last = dev.run_batch(tasks, [Call(), gone, Call()])
    assert isinstance(stopped, Cancelled)
    assert isinstance(first, Frames)
    assert np.abs(last.pixels[0].astype(int) - picture(dev, seed=3)).max() <= 1  # rounding of values equal within 1e-5


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"width": 70, "height": 50}, "64x48"),
        ({"width": 8}, "16x48"),
        ({"steps": 0}, "steps"),
        ({"steps": 1000}, "1000"),
        ({"true_cfg": 0.5}, "true_cfg"),
        ({"loras": (LoraUse("mine"),)}, "'mine'"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(dev, changes, names):
    with pytest.raises(BadRequest, match=names):
        picture(dev, **changes)


def test_other_kinds_of_task_are_refused(dev):
    with pytest.raises(BadRequest, match="SwapFaces"):
        list(dev.run(SwapFaces(source=np.zeros((8, 8, 3), np.uint8)), Call()))


def test_lora_slots_open_before_the_first_run_and_are_worn_for_each(dev_folder):
    from models.flux import Flux
    from models.weights import Loading

    class Slots:
        log: tuple = ()

        def open(self, pipe):
            self.log += ("open",)

        def wear(self, pipe, loras):
            self.log += (loras,)

    slots = Slots()
    runner = Flux(Loading({"base": dev_folder}), slots)
    worn = (LoraUse("mine", 0.5),)
    picture(runner, loras=worn)
    picture(runner)
    assert slots.log == ("open", worn, ())
