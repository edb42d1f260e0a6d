import dataclasses

import numpy as np
import pytest
from skimage.data import astronaut, coffee

from models.runner import Call
from models.task import ImageToVideo
from models.wan import WanImageToVideo
from models.weights import Loading

TASK = ImageToVideo(seed=7, prompt="she smiles", image=astronaut(), width=64, height=48, num_frames=5, fps=16, steps=6, guidance=3.5)


@pytest.fixture(scope="module")
def a14b(folder):
    return folder("Wan-AI/Wan2.2-I2V-A14B-Diffusers")


@pytest.fixture
def runner(a14b) -> WanImageToVideo:
    return WanImageToVideo(Loading({"base": a14b}))


def clip(runner, task) -> np.ndarray:
    return np.concatenate([frames.pixels for frames in runner.run(task, Call())])


def count_calls(runner, task) -> tuple[int, int]:
    """Steps each expert took; guidance runs it twice a step."""
    calls = {"transformer": 0, "transformer_2": 0}
    for name in calls:
        getattr(runner.pipe, name).register_forward_pre_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    clip(runner, task)
    return calls["transformer"] // 2, calls["transformer_2"] // 2


def test_the_schedule_decides_which_expert_takes_a_step(runner):
    assert runner.pipe.config.boundary_ratio == 0.9
    runner.pipe.scheduler.set_timesteps(TASK.steps)
    noisy = int((runner.pipe.scheduler.timesteps >= 900).sum())
    assert count_calls(runner, TASK) == (noisy, TASK.steps - noisy)
    assert 0 < noisy < TASK.steps


def test_a_greater_shift_gives_the_first_expert_more_steps(a14b, runner):
    shifted = WanImageToVideo(Loading({"base": a14b}), flow_shift=9.0)
    assert count_calls(shifted, TASK)[0] > count_calls(runner, TASK)[0]


@pytest.mark.parametrize("expert", ["transformer", "transformer_2"])
def test_both_experts_have_a_say(runner, expert):
    before = clip(runner, TASK)
    getattr(runner.pipe, expert).proj_out.weight.data.mul_(0.5)
    assert not np.array_equal(before, clip(runner, TASK))


def test_the_picture_steers_the_clip(runner):
    before = clip(runner, TASK)
    assert np.array_equal(before, clip(runner, TASK))
    assert not np.array_equal(before, clip(runner, dataclasses.replace(TASK, image=coffee())))
