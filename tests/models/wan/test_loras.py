"""LoRAs on the Wan runners: the one that is named is worn, for that clip alone, by both experts where there are two."""

import dataclasses

import numpy as np
import pytest
from safetensors.torch import save_file
from skimage.data import astronaut

from models.lora.stack import LoraStack
from models.runner import Call
from models.task import ImageToVideo, LoraUse, TextToVideo
from models.wan import WanImageToVideo, WanTextToVideo
from models.weights import Loading

FIELDS = {"seed": 7, "prompt": "a walk", "width": 64, "height": 48, "num_frames": 1, "fps": 16.0, "steps": 2, "guidance": 3.5}
STYLE = (LoraUse("style"),)


def style(folder, width):
    """A LoRA of the first expert's first attention, `width` wide."""
    import torch

    layer, draw = "transformer.blocks.0.attn1.to_q", torch.Generator().manual_seed(0)
    down, up = torch.randn(4, width, generator=draw), torch.randn(width, 4, generator=draw)
    save_file({f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}, folder / "lora.safetensors")
    return folder


def clip(runner, task, loras=()):
    return np.concatenate([frames.pixels for frames in runner.run(dataclasses.replace(task, loras=loras), Call())])


@pytest.mark.parametrize(
    ("kind", "repo", "task", "widths"),
    [
        (WanTextToVideo, "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", TextToVideo(**FIELDS), (96, 160)),
        (WanImageToVideo, "Wan-AI/Wan2.2-I2V-A14B-Diffusers", ImageToVideo(image=astronaut(), **FIELDS), (16, 16)),
    ],
    ids=["t2v", "a14b"],
)
def test_a_lora_is_worn_for_one_clip_by_every_expert_that_it_fits(kind, repo, task, widths, folder, tmp_path):
    import torch

    stack = LoraStack(None, {"style": style(tmp_path, widths[0])}, slots=1, rank=8)
    runner = kind(Loading({"base": folder(repo)}), stack)
    plain = clip(runner, task)

    def layers() -> list[torch.nn.Linear]:
        return [expert.blocks[0].attn1.to_q for expert in (runner.pipe.transformer, runner.pipe.transformer_2)]

    def outputs() -> list[np.ndarray]:
        with torch.no_grad():
            return [layer(torch.ones(1, layer.in_features)).numpy() for layer in layers()]

    assert tuple(layer.in_features for layer in layers()) == widths
    bare = outputs()
    assert not np.array_equal(plain, clip(runner, task, STYLE))
    worn = outputs()
    changed = [not np.array_equal(one, other) for one, other in zip(bare, worn, strict=True)]
    assert changed == [width == widths[0] for width in widths]
    assert np.array_equal(plain, clip(runner, task))
