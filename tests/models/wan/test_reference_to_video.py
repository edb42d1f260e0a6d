import dataclasses

import numpy as np
import pytest
from skimage.data import astronaut, coffee

from models.errors import BadRequest
from models.runner import Call
from models.task import ReferenceToVideo
from models.wan import WanReferenceToVideo
from models.weights import Loading

TASK = ReferenceToVideo(
    seed=7, prompt="she drinks", references=(astronaut(),), width=64, height=48, num_frames=9, fps=16, steps=2, guidance=5.0
)


@pytest.fixture(scope="module")
def runner(folder) -> WanReferenceToVideo:
    return WanReferenceToVideo(Loading({"base": folder("Wan-AI/Wan2.1-VACE-1.3B-diffusers")}))


def clip(runner, **changes) -> np.ndarray:
    return np.concatenate([frames.pixels for frames in runner.run(dataclasses.replace(TASK, **changes), Call())])


@pytest.mark.parametrize("references", [(astronaut(),), (astronaut(), coffee()), (astronaut(), coffee(), astronaut()[:, ::-1])])
def test_references_do_not_lengthen_the_clip(runner, references):
    assert clip(runner, references=references).shape == (9, 48, 64, 3)


def test_each_reference_and_its_strength_change_the_clip(runner):
    one = clip(runner)
    assert np.array_equal(one, clip(runner))
    for changes in ({"references": (coffee(),)}, {"references": (astronaut(), coffee())}, {"strength": 0.3}):
        assert not np.array_equal(one, clip(runner, **changes)), changes


def test_no_strength_silences_the_references(runner):
    assert np.array_equal(clip(runner, strength=0.0), clip(runner, strength=0.0, references=(coffee(),)))


def test_a_large_reference_is_shrunk_with_a_filter(runner):
    """A fine chequerboard has no colour of its own at the clip's size; shrunk without a filter it would."""
    fine = np.indices((960, 1280)).sum(axis=0)[..., None] % 2 * np.full(3, 255)
    (picture,) = runner.conditions(dataclasses.replace(TASK, references=(fine.astype(np.uint8),)))["reference_images"]
    assert np.asarray(picture).std() < 8


@pytest.mark.parametrize("count", [0, 4])
def test_too_few_or_too_many_references_are_refused(runner, count):
    with pytest.raises(BadRequest, match="1 to 3 references"):
        clip(runner, references=(astronaut(),) * count)
