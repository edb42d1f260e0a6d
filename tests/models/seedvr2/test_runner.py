import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch.nn.functional import interpolate

from models.errors import BadRequest, Cancelled
from models.runner import Call, FrameRunner, Frames
from models.seedvr2.colour import blur
from models.seedvr2.runner import SeedVR2
from models.seedvr2.tiling import Tiling
from models.task import Upscale
from models.weights import Loading

PICTURE = np.ascontiguousarray(astronaut()[:400:8, ::8])  # 50x64


def upscale(runner, call=None, **fields):
    task = Upscale(**{"seed": 7, "image": PICTURE, "resolution": 90} | fields)
    (frames,) = runner.run(task, call or Call())
    return frames.pixels


def frames_of(pixels, size=3):
    for begin in range(0, len(pixels), size):
        part = pixels[begin : begin + size]
        yield Frames(part, np.arange(begin, begin + len(part)) / 16)


def test_a_picture(checkpoint, call, reports):
    runner = SeedVR2(Loading({"base": checkpoint}))
    pixels = upscale(runner, call)
    assert pixels.shape == (1, 90, 115, 3)
    assert pixels.dtype == np.uint8
    assert call.facts == {"width": 115, "height": 90}
    assert list(call.seconds) == ["encode", "denoise", "decode"]
    assert [report for report in reports if report.stage == "denoise"][-1].done == 4
    runner.close()


def test_it_is_a_frame_runner(runner):
    assert isinstance(runner, FrameRunner)


def test_a_seed_means_the_same_pixels(runner):
    first = upscale(runner)
    assert np.array_equal(upscale(runner), first)
    assert not np.array_equal(upscale(runner, seed=8), first)
    assert np.array_equal(upscale(runner, seed=0), upscale(runner, seed=0))


def test_the_largest_side_is_capped(runner):
    assert upscale(runner, max_resolution=96).shape == (1, 75, 96, 3)


def test_low_frequencies_of_the_picture_are_kept(runner):
    def coarse(pixels):
        return blur(torch.tensor(pixels[0]).permute(2, 0, 1).float())

    small = PICTURE // 2 + 64  # far from black and white, where clamping would change them
    large = interpolate(torch.tensor(small).permute(2, 0, 1)[None].float(), (90, 115), mode="bicubic", antialias=True)
    wanted = coarse(large.permute(0, 2, 3, 1).numpy())
    kept, lost = ((coarse(upscale(runner, image=small, colour=colour)) - wanted).abs().mean() for colour in ("wavelet", "none"))
    assert kept < 4  # of 255
    assert kept < 0.2 * lost


def test_large_pictures_pass_in_tiles(runner, monkeypatch, call, reports):
    monkeypatch.setattr(runner, "tiles", Tiling(64, 16))
    upscale(runner, call)
    assert [(report.done, report.total) for report in reports if report.stage == "decode"] == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize("stage", ["encode", "denoise", "decode"])
def test_a_cancel_stops_the_run_and_leaves_the_runner_clean(runner, stage):
    before = upscale(runner)
    call = Call()
    call.on_progress = lambda report: call.cancel() if report.stage == stage else None
    with pytest.raises(Cancelled):
        upscale(runner, call)
    assert np.array_equal(upscale(runner), before)


def test_a_clip_keeps_its_times_and_gets_even_sides(runner, call):
    clip = np.stack([np.roll(PICTURE, shift, axis=1) for shift in range(24)])
    out = list(runner.transform(Upscale(seed=7, resolution=33), frames_of(clip), call))
    assert np.concatenate([part.times_s for part in out]).tolist() == [i / 16 for i in range(24)]
    assert {part.pixels.shape[1:] for part in out} == {(32, 42, 3)}
    assert call.facts == {"width": 42, "height": 32, "chunks": 2}


def test_a_clip_of_one_frame_is_a_picture(runner):
    (out,) = runner.transform(Upscale(seed=7, resolution=90), frames_of(PICTURE[None]), Call())
    assert out.pixels.shape == (1, 90, 116, 3)


def test_a_task_without_a_picture_is_refused(runner):
    with pytest.raises(BadRequest, match="image is missing"):
        upscale(runner, image=None)


def test_read_only_pixels_are_taken(runner):
    picture = PICTURE.copy()
    picture.setflags(write=False)
    assert upscale(runner, image=picture).shape == (1, 90, 115, 3)
