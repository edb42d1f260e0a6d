import dataclasses

import numpy as np
import pytest
from skimage.data import astronaut, coffee

from models.errors import BadRequest, Cancelled
from models.runner import Call
from models.task import ImageToVideo, TextToVideo
from models.wan import WanImageToVideo, WanTextToVideo
from models.wan.fit import fitted
from models.weights import Loading

TASK = ImageToVideo(
    seed=7, prompt="she smiles", image=astronaut(), fit="cover", width=96, height=64, num_frames=9, fps=24, steps=2, guidance=5.0
)


@pytest.fixture(scope="module")
def runner(folder) -> WanImageToVideo:
    return WanImageToVideo(Loading({"base": folder("Wan-AI/Wan2.2-TI2V-5B-Diffusers")}))


def clip(runner, task, call=None) -> np.ndarray:
    return np.concatenate([frames.pixels for frames in runner.run(task, call or Call())])


def through_the_autoencoder(runner, image) -> np.ndarray:
    """`image` encoded and decoded by the VAE alone: the most that the first frame can keep of it."""
    import torch

    pixels = torch.from_numpy(image).permute(2, 0, 1)[None, :, None].float() / 127.5 - 1
    with torch.no_grad():
        seen = runner.pipe.vae.decode(runner.pipe.vae.encode(pixels).latent_dist.mode()).sample
    return ((seen[0, :, 0].permute(1, 2, 0) / 2 + 0.5) * 255).round().numpy()


@pytest.mark.parametrize("image", [astronaut(), coffee()], ids=["astronaut", "coffee"])
def test_the_first_frame_is_the_picture_as_far_as_the_autoencoder_allows(runner, image):
    frames = clip(runner, dataclasses.replace(TASK, image=image))
    expected = through_the_autoencoder(runner, fitted(image, 96, 64, "cover"))
    assert np.abs(frames[0] - expected).max() <= 1
    assert expected.std() > 5


def test_the_picture_steers_all_frames(runner):
    one, two = clip(runner, TASK), clip(runner, dataclasses.replace(TASK, image=coffee()))
    assert np.array_equal(one, clip(runner, TASK))
    moved = np.abs(one.astype(int) - two).mean(axis=(1, 2, 3))
    assert (moved > 1).all()


def test_prompt_seed_and_fit_matter(runner):
    first = clip(runner, TASK)
    for change in ({"prompt": "zoom in"}, {"seed": 8}, {"fit": "contain"}):
        assert not np.array_equal(first, clip(runner, dataclasses.replace(TASK, **change))), change


def test_fit_smart_uses_the_given_finder(folder):
    faces = []
    runner = WanImageToVideo(
        Loading({"base": folder("Wan-AI/Wan2.2-TI2V-5B-Diffusers")}), find_face=lambda image: faces.append(image.shape)
    )
    clip(runner, dataclasses.replace(TASK, fit="smart", num_frames=1, steps=1))
    assert faces == [(512, 512, 3)]


def test_a_cancel_stops_within_one_step(runner):
    before = clip(runner, TASK)
    steps: list[int] = []
    call = Call()
    call.on_progress = lambda progress: (steps.append(progress.done), call.cancel()) if progress.stage == "denoise" else None
    with pytest.raises(Cancelled):
        clip(runner, dataclasses.replace(TASK, steps=20), call)
    assert steps == [1]
    assert np.array_equal(before, clip(runner, TASK))


def test_sides_are_multiples_of_16_though_the_model_needs_32(runner):
    frames = clip(runner, dataclasses.replace(TASK, width=80, height=112))
    assert frames.shape == (9, 112, 80, 3)
    larger = np.pad(fitted(astronaut(), 80, 112, "cover"), ((0, 16), (0, 16), (0, 0)), "edge")
    assert np.abs(frames[0] - through_the_autoencoder(runner, larger)[:112, :80]).max() <= 1
    with pytest.raises(BadRequest, match="nearest size is 1280x704"):
        clip(runner, dataclasses.replace(TASK, width=1280, height=710))


def test_a_task_for_another_runner_is_refused(runner, t2v_folder):
    fields = {field.name: getattr(TASK, field.name) for field in dataclasses.fields(TextToVideo)}
    with pytest.raises(BadRequest, match="not TextToVideo"):
        clip(runner, TextToVideo(**fields))
    with pytest.raises(BadRequest, match="not ImageToVideo"):
        clip(WanTextToVideo(Loading({"base": t2v_folder})), TASK)
