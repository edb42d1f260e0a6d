import numpy as np
import pytest

from models.errors import BadRequest
from models.runner import Call
from models.task import EditImage, TextToImage


def noise(seed, height=64, width=80):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def task(**changes):
    base = {"seed": 1, "prompt": "a red fox", "width": 64, "height": 48, "steps": 2, "guidance": 1.0}
    return (EditImage if "images" in changes else TextToImage)(**(base | changes))


def picture(runner, **changes):
    (frames,) = runner.run(task(**changes), Call())
    return frames.pixels[0]


def test_a_task_gives_one_picture_of_the_asked_size(klein):
    assert picture(klein).shape == (48, 64, 3)
    assert np.array_equal(picture(klein), picture(klein))


def test_references_change_the_picture_and_its_size_stays(klein):
    plain, one, other, both = (
        picture(klein, images=images) for images in ((noise(1),), (noise(2),), (noise(1), noise(2)), (noise(2), noise(1)))
    )
    assert plain.shape == (48, 64, 3)
    pictures = [picture(klein), plain, one, other, both]
    assert all(not np.array_equal(a, b) for index, a in enumerate(pictures) for b in pictures[:index])


def test_each_item_of_a_batch_equals_its_single_run(klein):
    tasks = [task(seed=seed, prompt="fox " * (seed + 1)) for seed in range(3)]
    together = klein.pictures(tasks, [Call() for _ in tasks])
    for index, alone in enumerate(tasks):
        assert (together[index] - klein.pictures([alone], [Call()])[0]).abs().max() < 1e-5


def test_an_edit_never_shares_a_batch(klein):
    edits = [task(images=(noise(1),)), task(images=(noise(2),))]
    assert klein.batch_key(edits[0]) != klein.batch_key(edits[1])
    assert klein.batch_key(edits[0]) != klein.batch_key(task())
    with pytest.raises(BadRequest, match="batch"):
        klein.run_batch(edits, [Call(), Call()])


@pytest.mark.parametrize(
    ("images", "words"),
    [((noise(1, 32, 80),), "80x32"), ((noise(1, 64, 640),), "640x64"), ((noise(1),) * 5, "at most 4")],
)
def test_references_that_cannot_be_used_are_refused(klein, images, words):
    with pytest.raises(BadRequest, match=words):
        picture(klein, images=images)
