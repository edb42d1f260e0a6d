"""Lightning beside the LoRAs that callers bring."""

import numpy as np
import pytest

from models.lora.stack import LoraStack
from models.qwen_image import QwenImage
from models.runner import Call
from models.task import LoraUse, TextToImage
from models.weights import Loading


@pytest.fixture(scope="module")
def dressed(folders):
    """A runner with a slot; any LoRA of the right shape will do, so it wears the edit model's Lightning."""
    stack = LoraStack(None, {"style": folders["edit-lightning"]}, slots=1, rank=4)
    return QwenImage(Loading({"base": folders["base"], "lightning": folders["lightning"]}), stack)


def picture(runner, **changes):
    task = {"seed": 1, "prompt": "a red fox", "width": 64, "height": 48, "steps": 4, "guidance": 1.0} | changes
    (frames,) = runner.run(TextToImage(**task), Call())
    return frames.pixels[0]


def test_an_empty_slot_changes_neither_the_plain_model_nor_lightning(dressed, qwen):
    assert np.array_equal(picture(dressed), picture(qwen))
    assert np.array_equal(picture(dressed, checkpoint="lightning"), picture(qwen, checkpoint="lightning"))


def test_a_lora_acts_with_and_without_lightning_and_leaves_both_as_they_were(dressed):
    style = {"loras": (LoraUse("style"),)}
    plain, fast = picture(dressed), picture(dressed, checkpoint="lightning")
    styled, styled_fast = picture(dressed, **style), picture(dressed, checkpoint="lightning", **style)
    pictures = [plain, fast, styled, styled_fast]
    assert all(not np.array_equal(a, b) for index, a in enumerate(pictures) for b in pictures[:index])
    assert np.array_equal(picture(dressed, **style), styled)
    assert np.array_equal(picture(dressed), plain)
    assert np.array_equal(picture(dressed, checkpoint="lightning"), fast)
