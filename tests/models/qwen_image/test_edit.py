import numpy as np
import pytest

from models.errors import BadRequest, Cancelled
from models.qwen_image.edit import painted_size
from models.runner import Call
from models.task import EditImage, InpaintImage, TextToImage

pytestmark = pytest.mark.slow  # the pipeline looks at every picture at a megapixel


def noise(seed, height=90, width=70):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


BASE = {"seed": 1, "prompt": "make it rain", "width": 70, "height": 90, "steps": 2, "guidance": 1.0}


def edited(runner, call=None, **changes):
    (frames,) = runner.run(EditImage(**(BASE | {"images": (noise(1),)} | changes)), call or Call())
    return frames.pixels[0]


def square():
    mask = np.zeros((90, 70), np.uint8)
    mask[20:60, 10:50] = 255
    return mask


def inpainted(runner, **changes):
    (frames,) = runner.run(InpaintImage(**(BASE | {"images": (noise(1),), "mask": square()} | changes)), Call())
    return frames.pixels[0]


def test_an_edit_follows_its_picture_its_instruction_and_its_seed(editor):
    first = edited(editor)
    assert (first.shape, first.dtype) == ((90, 70, 3), np.uint8)
    assert np.array_equal(first, edited(editor))
    for changes in ({"images": (noise(2),)}, {"prompt": "make it snow"}, {"seed": 2}, {"images": (noise(1), noise(2))}):
        assert not np.array_equal(first, edited(editor, **changes))


def test_lightning_edits_in_four_steps_and_leaves_the_plain_model(editor):
    plain = edited(editor)
    assert not np.array_equal(plain, edited(editor, checkpoint="lightning", steps=4))
    assert np.array_equal(plain, edited(editor))


def test_pixels_outside_the_mask_come_back_to_the_bit(editor):
    source, result, mask = noise(1), inpainted(editor), square() >= 128
    assert np.array_equal(result[~mask], source[~mask])
    assert (result[mask] != source[mask]).mean() > 0.5


def test_a_mask_of_another_size_is_stretched_to_the_picture(editor):
    small = np.zeros((9, 7), np.uint8)
    small[:, :3] = 255
    source, result = noise(1), inpainted(editor, mask=small)
    assert np.array_equal(result[:, 40:], source[:, 40:])
    assert not np.array_equal(result[:, :20], source[:, :20])


def test_the_change_depends_on_what_is_kept_around_it(editor):
    """Masked denoising, not a whole edit pasted in: the same noise gives other pixels inside."""
    inside = np.s_[35:45, 25:35]
    whole = edited(editor)
    assert not np.array_equal(inpainted(editor)[inside], whole[inside])


def test_a_mask_without_white_is_refused(editor):
    with pytest.raises(BadRequest, match="nothing white"):
        inpainted(editor, mask=np.zeros((90, 70), np.uint8))


def test_a_stopped_inpaint_leaves_the_editor_clean(editor):
    before, call = edited(editor), Call()
    call.on_progress = lambda _: call.cancel()
    with pytest.raises(Cancelled):
        list(editor.run(InpaintImage(**(BASE | {"images": (noise(1),), "mask": square(), "steps": 8})), call))
    assert np.array_equal(edited(editor), before)


def test_other_tasks_and_too_many_pictures_are_refused(editor):
    with pytest.raises(BadRequest, match="TextToImage"):
        list(editor.run(TextToImage(**BASE), Call()))
    with pytest.raises(BadRequest, match="one to 3"):
        edited(editor, images=(noise(1),) * 4)


@pytest.mark.parametrize(
    ("size", "painted"), [((1024, 768), (1024, 768)), ((1000, 700), (992, 704)), ((4000, 3000), (1536, 1152)), ((64, 64), (256, 256))]
)
def test_a_result_is_painted_near_its_size(size, painted):
    assert painted_size(*size) == painted
