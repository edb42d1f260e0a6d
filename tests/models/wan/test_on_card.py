"""The toy checkpoints on a card: number formats, the stream, cancel and running out of memory."""

import dataclasses

import numpy as np
import pytest

from models.acceleration import limit_memory
from models.errors import Cancelled, OutOfMemory
from models.runner import Call, Progress
from models.task import ImageToVideo, ReferenceToVideo, TextToVideo
from models.wan import WanImageToVideo, WanReferenceToVideo, WanTextToVideo
from models.weights import Loading

pytestmark = pytest.mark.gpu

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
SHARED = {"seed": 7, "prompt": "a red ball", "width": 128, "height": 96, "num_frames": 9, "fps": 16, "steps": 6, "guidance": 5.0}
CASES = {
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": (WanTextToVideo, TextToVideo(**SHARED)),
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": (WanImageToVideo, ImageToVideo(**SHARED, image=PICTURE)),
    "Wan-AI/Wan2.2-I2V-A14B-Diffusers": (WanImageToVideo, ImageToVideo(**SHARED, image=PICTURE)),
    "Wan-AI/Wan2.1-VACE-1.3B-diffusers": (WanReferenceToVideo, ReferenceToVideo(**SHARED, references=(PICTURE,))),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, folder):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    kind, task = CASES[request.param]
    return kind(Loading({"base": folder(request.param)}, "cuda")), task


def clip(runner, task, call=None) -> np.ndarray:
    return np.concatenate([frames.pixels for frames in runner.run(task, call or Call())])


def test_formats_are_those_of_the_parts(case):
    import torch

    pipe = case[0].pipe
    assert pipe.vae.dtype == torch.float32
    assert pipe.transformer.proj_out.weight.dtype == pipe.text_encoder.dtype == torch.bfloat16
    assert {parameter.device.type for parameter in pipe.transformer.parameters()} == {"cuda"}


def test_a_seed_is_a_clip_bit_by_bit(case):
    first = clip(*case)
    assert first.shape == (9, 96, 128, 3)
    assert first.std() > 3
    assert np.array_equal(first, clip(*case))


def test_the_stream_equals_decoding_the_whole_clip(case):
    import torch

    from models.wan.decode import decode

    vae = case[0].pipe.vae
    latents = torch.randn(1, vae.config.z_dim, 4, 12, 16, device="cuda")
    mean, deviation = (torch.tensor(v, device="cuda").view(1, -1, 1, 1, 1) for v in (vae.config.latents_mean, vae.config.latents_std))
    with torch.no_grad():
        whole = vae.decode(latents * deviation + mean).sample[0].permute(1, 2, 3, 0)
    shades = ((whole / 2 + 0.5) * 255).round().cpu().numpy()
    assert np.abs(np.concatenate(list(decode(vae, latents))) - shades).max() <= 1


def test_a_cancel_stops_within_one_step(case):
    runner, task = case
    seen: list[Progress] = []
    call = Call()
    call.on_progress = lambda progress: (seen.append(progress), progress.stage == "denoise" and call.cancel())
    with pytest.raises(Cancelled):
        clip(runner, dataclasses.replace(task, steps=50), call)
    assert [progress.done for progress in seen if progress.stage == "denoise"] == [1]


def test_running_out_of_memory_is_told_and_survived(case):
    import torch

    runner, task = case
    torch.cuda.empty_cache()
    limit_memory(0.0005, "cuda")
    try:
        with pytest.raises(OutOfMemory, match="fewer frames"):
            clip(runner, dataclasses.replace(task, width=832, height=480, num_frames=81))
    finally:
        limit_memory(1.0, "cuda")
    assert clip(runner, task).std() > 3
