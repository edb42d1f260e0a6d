import time

import numpy as np
import pytest

from models.errors import BadRequest, Cancelled, DeadlineExceeded, WeightsMissing
from models.runner import Call, Frames
from models.sdxl import Sdxl
from models.task import LoraUse, SwapFaces, TextToImage
from models.weights import Loading

# diffusers' schedulers turn tensors into arrays in a way that numpy 2 warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def task(**changes):
    base = {"seed": 1, "prompt": "a red fox", "width": 64, "height": 48, "steps": 4, "guidance": 5.0}
    return TextToImage(**(base | changes))


def picture(runner, **changes):
    (frames,) = runner.run(task(**changes), Call())
    return frames.pixels[0]


def values(runner, *tasks):
    return runner.pictures(tasks, [Call() for _ in tasks])


def plain(folder, **arguments):
    import torch
    from diffusers import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    shared = {"width": 64, "height": 48, "num_inference_steps": 4, "generator": torch.Generator().manual_seed(1), "output_type": "pt"}
    return pipe("a red fox", negative_prompt="", **(shared | arguments)).images


def test_a_task_gives_one_picture_of_the_asked_size(sdxl):
    (frames,) = sdxl.run(task(width=72), Call())
    assert frames.pixels.shape == (1, 48, 72, 3)
    assert frames.pixels.dtype == np.uint8


def test_the_seed_decides_the_pixels(sdxl):
    assert np.array_equal(picture(sdxl, seed=0), picture(sdxl, seed=0))
    assert not np.array_equal(picture(sdxl, seed=0), picture(sdxl, seed=1))


def test_the_runner_adds_nothing_to_the_plain_pipeline(sdxl, folders):
    assert (values(sdxl, task()) - plain(folders["base"], guidance_scale=5.0)).abs().max() < 1e-5
    turbo = values(sdxl, task(checkpoint="turbo", guidance=0.0))
    assert (turbo - plain(folders["turbo"], guidance_scale=0.0)).abs().max() < 1e-5


def test_guidance_and_negative_prompt_matter(sdxl):
    assert not np.array_equal(picture(sdxl), picture(sdxl, guidance=1.0))
    assert not np.array_equal(picture(sdxl), picture(sdxl, negative_prompt="blurry"))
    assert np.array_equal(picture(sdxl), picture(sdxl, negative_prompt=""))


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("sampler", [None, "euler_ancestral", "dpmpp_2m_sde"])
def test_each_item_of_a_batch_equals_its_single_run(sdxl, size, sampler):
    tasks = [task(seed=seed, prompt="fox " * (seed + 1), negative_prompt="x" * seed, sampler=sampler) for seed in range(size)]
    together = values(sdxl, *tasks)
    for index, alone in enumerate(tasks):
        assert (together[index] - values(sdxl, alone)[0]).abs().max() < 1e-5


def test_a_batch_shares_what_the_pipeline_has_only_one_of(sdxl):
    assert sdxl.batch_key(task(seed=1, prompt="a")) == sdxl.batch_key(task(seed=2, prompt="b", negative_prompt="c"))
    differing = {"height": 64, "steps": 2, "guidance": 1.0, "checkpoint": "turbo", "sampler": "euler", "scheduler": "karras"}
    for name, value in differing.items():
        other = task(**{name: value})
        assert sdxl.batch_key(task()) != sdxl.batch_key(other)
        with pytest.raises(BadRequest, match="batch"):
            sdxl.run_batch([task(), other], [Call(), Call()])


def test_cancelling_stops_after_the_step_and_leaves_the_model_clean(sdxl):
    before = picture(sdxl)
    seen = []
    call = Call()
    call.on_progress = lambda progress: (seen.append((progress.stage, progress.done, progress.total)), call.cancel())
    with pytest.raises(Cancelled):
        list(sdxl.run(task(steps=30), call))
    assert seen == [("denoise", 1, 30)]
    with pytest.raises(DeadlineExceeded):
        list(sdxl.run(task(), Call(deadline=time.time() - 1)))
    assert np.array_equal(picture(sdxl), before)


def test_one_cancelled_item_does_not_disturb_the_rest_of_its_batch(sdxl):
    gone = Call()
    gone.cancel()
    stopped, kept = sdxl.run_batch([task(seed=1), task(seed=2)], [gone, Call()])
    assert isinstance(stopped, Cancelled)
    assert isinstance(kept, Frames)


@pytest.mark.parametrize("checkpoint", ["turbo", "lightning", "RealVisXL_V4.0"])
def test_checkpoints_differ_and_the_base_comes_back(sdxl, checkpoint):
    before = picture(sdxl)
    other = picture(sdxl, checkpoint=checkpoint)
    assert not np.array_equal(other, before)
    assert np.array_equal(picture(sdxl), before)
    assert np.array_equal(picture(sdxl, checkpoint=checkpoint), other)


def test_lightning_is_the_base_with_another_unet_and_its_own_schedule(sdxl, folders):
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from safetensors.torch import load_file

    pipe = StableDiffusionXLPipeline.from_pretrained(folders["base"], add_watermarker=False)
    pipe.unet.load_state_dict(load_file(folders["lightning"] / "sdxl_lightning_4step_unet.safetensors"))
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    seed = torch.Generator().manual_seed(1)
    want = pipe("a red fox", width=64, height=48, num_inference_steps=4, guidance_scale=0.0, generator=seed, output_type="pt").images
    assert (values(sdxl, task(checkpoint="lightning", guidance=0.0)) - want).abs().max() < 1e-5
    assert sdxl.checkpoints.get("lightning").text_encoder is sdxl.checkpoints.get("base").text_encoder


def test_a_single_file_gives_the_pictures_of_the_folder_it_was_made_from(sdxl, folders, tmp_path):
    from models.tiny.sdxl import build_single_file

    build_single_file(tmp_path / "as-base", "as-base", seed=0)  # the base's seed
    runner = Sdxl(Loading({"base": folders["base"], "as-base": tmp_path / "as-base"}))
    assert (values(runner, task(checkpoint="as-base")) - values(sdxl, task())).abs().max() < 1e-5


def test_only_the_last_used_checkpoints_stay_loaded(folders):
    runner = Sdxl(Loading(folders), spare_checkpoints=1)
    assert list(runner.resident()) == []
    first = runner.checkpoints.get("turbo")
    assert runner.checkpoints.get("turbo") is first
    assert list(runner.resident()) == ["turbo"]
    runner.checkpoints.get("lightning")
    assert list(runner.resident()) == ["lightning"]
    assert runner.checkpoints.get("turbo") is not first
    assert runner.checkpoints.get("base") is runner.checkpoints.get(None)


def test_an_unknown_checkpoint_is_answered_with_the_known_ones(sdxl):
    with pytest.raises(BadRequest, match=r"base, RealVisXL_V4.0, lightning, turbo; got 'dreamy'"):
        picture(sdxl, checkpoint="dreamy")


def test_loras_of_the_house_are_no_checkpoints(folders, tmp_path):
    runner = Sdxl(Loading({"base": folders["base"], "turbo": folders["turbo"], "lora:style": tmp_path}))
    assert runner.checkpoints.names == ("base", "turbo")


def test_a_file_that_is_not_a_whole_model_is_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(folders["RealVisXL_V4.0"] / "RealVisXL_V4.0.safetensors")
    del weights["model.diffusion_model.out.2.weight"]
    (tmp_path / "holed").mkdir()
    save_file(weights, tmp_path / "holed" / "holed.safetensors")
    runner = Sdxl(Loading({"base": folders["base"], "holed": tmp_path / "holed"}))
    with pytest.raises(WeightsMissing, match=r"holed\.safetensors is not a whole SDXL model"):
        picture(runner, checkpoint="holed")


def test_a_pickle_is_never_opened(folders, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "old.ckpt").write_bytes(b"pickle")
    runner = Sdxl(Loading({"base": folders["base"], "old": tmp_path / "old"}))
    with pytest.raises(WeightsMissing, match=r"old\.ckpt is a pickle.*convert_weights"):
        picture(runner, checkpoint="old")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"width": 70}, "72x48"),
        ({"steps": 0}, "1 to 150"),
        ({"checkpoint": "turbo", "steps": 5}, "1 to 4"),
        ({"checkpoint": "lightning", "steps": 3}, "must be 4 "),
        ({"sampler": "ddpm"}, "euler, euler_ancestral, dpmpp_2m"),
        ({"scheduler": "magic"}, "normal, simple"),
        ({"loras": (LoraUse("mine"),)}, "'mine'"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(sdxl, changes, names):
    with pytest.raises(BadRequest, match=names):
        picture(sdxl, **changes)


def test_other_kinds_of_task_are_refused(sdxl):
    with pytest.raises(BadRequest, match="SwapFaces"):
        list(sdxl.run(SwapFaces(source=np.zeros((8, 8, 3), np.uint8)), Call()))


def test_lora_slots_open_on_every_checkpoint(folders):
    class Slots:
        opened: tuple = ()
        worn: tuple = ()

        def open(self, pipe):
            self.opened += (pipe,)

        def wear(self, pipe, loras):
            self.worn += ((pipe, loras),)

    slots = Slots()
    runner = Sdxl(Loading(folders), slots)
    worn = (LoraUse("mine", 0.5),)
    picture(runner, loras=worn, checkpoint="turbo")
    turbo = runner.checkpoints.get("turbo")
    assert slots.opened == (runner.checkpoints.get(None), turbo)
    assert slots.worn == ((turbo, worn),)


def test_in_half_precision_the_decoder_stays_in_float32_and_says_nothing(folders, monkeypatch, capfd):
    """As on a card; the CPU is slower at it, and does it."""
    import torch

    monkeypatch.setattr("models.sdxl.checkpoints.dtype_on", lambda *_: torch.float16)
    runner = Sdxl(Loading({name: folders[name] for name in ("base", "lightning")}))
    capfd.readouterr()
    expected = plain(folders["base"], guidance_scale=5.0)[0].permute(1, 2, 0).numpy()
    for checkpoint, guidance in ((None, 5.0), ("lightning", 0.0), (None, 5.0)):  # the two share their decoder
        shown = picture(runner, checkpoint=checkpoint, guidance=guidance)
        assert runner.checkpoints.get(checkpoint).vae.dtype == torch.float32
    assert np.abs(shown / 255 - expected).mean() < 0.02
    assert "float32" not in "".join(capfd.readouterr()), "no cast, and no line in the log, for each picture"
