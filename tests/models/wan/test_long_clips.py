"""Clips longer than the model makes at once, at other rates, judged and shown, on toy checkpoints."""

import dataclasses

import numpy as np
import pytest
from skimage.data import astronaut

from models.errors import PoorQuality
from models.runner import Call, Progress
from models.task import ImageToVideo, ReferenceToVideo, TextToVideo
from models.wan import WanImageToVideo, WanReferenceToVideo, WanTextToVideo
from models.wan.runner import OVERLAP, WanRunner
from models.weights import Loading

FIELDS = {"seed": 7, "prompt": "a walk", "width": 64, "height": 64, "fps": 16.0, "steps": 3, "guidance": 5.0}
PHOTOS = (astronaut(),)
KINDS = {
    "t2v": (WanTextToVideo, "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", TextToVideo(num_frames=33, **FIELDS)),
    "ti2v": (WanImageToVideo, "Wan-AI/Wan2.2-TI2V-5B-Diffusers", ImageToVideo(num_frames=33, image=astronaut(), **FIELDS)),
    "a14b": (WanImageToVideo, "Wan-AI/Wan2.2-I2V-A14B-Diffusers", ImageToVideo(num_frames=33, image=astronaut(), **FIELDS)),
    "vace": (
        WanReferenceToVideo,
        "Wan-AI/Wan2.1-VACE-1.3B-diffusers",
        ReferenceToVideo(num_frames=33, references=(astronaut(),), **FIELDS),
    ),
}


def loaded(name, folder):
    kind, repo, task = KINDS[name]
    return kind(Loading({"base": folder(repo)})), task


@pytest.fixture(scope="module")
def made(folder):
    return loaded("t2v", folder)


@pytest.fixture
def short(monkeypatch):
    """Models that make 21 frames at once, so that a clip of 33 takes two runs."""
    monkeypatch.setattr(WanRunner, "longest", 21)


def clip(runner, task, call=None, **changes):
    parts = list(runner.run(dataclasses.replace(task, **changes), call or Call()))
    return np.concatenate([part.pixels for part in parts]), np.concatenate([part.times_s for part in parts])


@pytest.mark.parametrize("name", KINDS)
def test_a_long_clip_has_all_its_frames_and_no_jump_at_the_seam(name, folder, short):
    runner, task = loaded(name, folder)
    seen: list[Progress] = []
    pixels, times = clip(runner, task, Call(on_progress=seen.append))
    assert pixels.shape == (33, 64, 64, 3)
    assert times == pytest.approx(np.arange(33) / 16)
    assert [progress.done for progress in seen if progress.stage == "denoise"] == [1, 2, 3, 4, 5, 6]
    if name == "t2v":  # its small trained weights plan a clip from its own first noise: another run, another figure
        return
    steps = np.abs(np.diff(pixels.astype(float), axis=0)).mean(axis=(1, 2, 3))
    seam = steps[21 - OVERLAP - 1 : 21]
    assert seam.max() <= 1.25 * np.delete(steps, range(21 - OVERLAP - 1, 21)).max() + 1


def test_the_second_run_goes_on_from_the_first(made, short, monkeypatch):
    """What comes before the shared frames is the first run alone; without the kept latents the second run is another clip."""
    runner, task = made
    own = 21 - OVERLAP
    long, _ = clip(runner, task)
    first, _ = clip(runner, task, num_frames=21)
    assert np.array_equal(long[:own], first[:own])
    monkeypatch.setattr("models.wan.runner.Kept.put_into", lambda self, latents, sigma: latents)
    loose, _ = clip(runner, task)
    assert np.array_equal(long[:own], loose[:own])
    assert not np.array_equal(long[21:], loose[21:])


def test_kept_latents_come_out_as_they_went_in(made):
    """After the last step the shared part is what the tail was encoded to, so decoding gives the tail as far as the VAE allows."""
    from models.wan.encode import encode
    from models.wan.overlap import Kept

    runner, _ = made
    tail = np.stack([astronaut()[:64, :64]] * OVERLAP)
    known = encode(runner.pipe.vae, tail)
    assert known.shape[2] == 3
    latents = known.new_full((1, known.shape[1], 6, *known.shape[3:]), 5.0)  # one of them stands for a reference
    result = Kept(known, 7, 5).put_into(latents, 0.0)
    assert np.array_equal(result[:, :, 1:4].numpy(), known.numpy())
    assert float(result[:, :, [0, 4, 5]].min()) == 5.0
    noisy = Kept(known, 7, 5).put_into(latents, 1.0)
    assert abs(float(noisy[:, :, 1:4].std()) - 1) < 0.2


@pytest.mark.parametrize("fps", [16, 24])
def test_a_duration_gives_exactly_its_frames_at_the_asked_rate(made, fps):
    runner, task = made
    pixels, times = clip(runner, task, num_frames=9, seconds=0.5, shown_fps=fps)
    assert len(pixels) == fps / 2
    assert times == pytest.approx(np.arange(len(pixels)) / fps)
    own, _ = clip(runner, task, num_frames=9)
    assert np.array_equal(pixels[0], own[0])
    if fps == 16:
        assert np.array_equal(pixels, own[:8])


def test_faults_are_an_error_only_when_asked(made, monkeypatch):
    runner, task = made
    monkeypatch.setattr("models.clip.quality.FROZEN", 1000.0)
    call = Call()
    clip(runner, task, call, num_frames=5)
    assert "frozen" in str(call.facts["quality"])
    with pytest.raises(PoorQuality, match="frozen"):
        clip(runner, task, num_frames=5, quality_gate=True)


def test_a_preview_is_the_first_frame_and_comes_before_the_clip_is_decoded(made):
    import io

    from PIL import Image

    runner, task = made
    seen: list[Progress] = []
    pixels, _ = clip(runner, task, Call(on_progress=seen.append), num_frames=9, preview=True)
    stages = [progress.stage for progress in seen]
    assert stages.index("preview") < len(stages) - 1 - stages[::-1].index("decode")
    shown = np.asarray(Image.open(io.BytesIO(seen[stages.index("preview")].picture)).convert("RGB"))
    assert shown.shape == (64, 64, 3)
    assert np.abs(shown.astype(float) - pixels[0]).mean() < 25
