import numpy as np
import pytest

from models.errors import BadRequest, Cancelled, WeightsMissing
from models.qwen_image import QwenImage
from models.runner import Call
from models.task import TextToImage
from models.weights import Loading


def task(**changes):
    base = {"seed": 1, "prompt": "a red fox", "width": 64, "height": 48, "steps": 2, "guidance": 4.0}
    return TextToImage(**(base | changes))


def picture(runner, **changes):
    (frames,) = runner.run(task(**changes), Call())
    return frames.pixels[0]


def values(runner, *tasks):
    return runner.pictures(tasks, [Call() for _ in tasks])


def plain(folder, lora=None, **arguments):
    """What diffusers makes of the same folder by itself."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, QwenImagePipeline

    pipe = QwenImagePipeline.from_pretrained(folder)
    pipe.prompt_template_encode_start_idx = len(pipe.tokenizer(pipe.prompt_template_encode.partition("{}")[0]).input_ids)
    if lora is not None:
        pipe.load_lora_weights(lora, weight_name="Qwen-Image-2512-Lightning-4steps-V1.0-bf16.safetensors")
        shift = {"base_shift": np.log(3), "max_shift": np.log(3), "shift": 1.0, "shift_terminal": None}
        pipe.scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config, **shift)
    generator = torch.Generator().manual_seed(1)
    return pipe("a red fox", width=64, height=48, generator=generator, output_type="pt", **arguments).images


def test_the_runner_adds_nothing_to_the_plain_pipeline(qwen, folders):
    same = plain(folders["base"], num_inference_steps=2, true_cfg_scale=4.0, negative_prompt=" ")
    assert (values(qwen, task()) - same).abs().max() < 1e-5


def test_the_whole_prompt_is_read_and_nothing_of_the_system_text(qwen):
    texts = ("a red fox", "b red fox", "a red foy")
    pictures = [picture(qwen, prompt=text) for text in texts]
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])
    embeddings, _ = qwen.pipe.encode_prompt("ab")
    tail = len(qwen.pipe.tokenizer("ab<|im_end|>\n<|im_start|>assistant\n").input_ids)
    assert embeddings.shape[1] == tail


def test_guidance_brings_the_negative_prompt_into_play(qwen):
    assert np.array_equal(picture(qwen, guidance=1.0), picture(qwen, guidance=1.0, negative_prompt="fog"))
    assert not np.array_equal(picture(qwen), picture(qwen, negative_prompt="fog"))


def test_lightning_is_the_lora_with_its_own_schedule(qwen, folders):
    same = plain(folders["base"], folders["lightning"], num_inference_steps=4, true_cfg_scale=1.0)
    fast = task(steps=4, guidance=1.0, checkpoint="lightning")
    assert (values(qwen, fast) - same).abs().max() < 1e-5
    assert [round(float(step)) for step in qwen.lightning.scheduler.timesteps] == [1000, 900, 750, 500]


def test_after_lightning_the_plain_model_is_back_to_the_bit(qwen):
    before = picture(qwen)
    assert not np.array_equal(before, picture(qwen, checkpoint="lightning"))
    assert np.array_equal(before, picture(qwen))


def test_a_cancelled_lightning_run_leaves_the_plain_model(qwen):
    before, call = picture(qwen), Call()
    call.on_progress = lambda _: call.cancel()
    with pytest.raises(Cancelled):
        list(qwen.run(task(checkpoint="lightning", steps=4), call))
    assert np.array_equal(picture(qwen), before)


def test_each_item_of_a_batch_equals_its_single_run_whatever_the_prompts_lengths(qwen):
    tasks = [task(seed=seed, prompt="fox " * (seed + 1), negative_prompt="x" * seed) for seed in range(3)]
    together = values(qwen, *tasks)
    for index, alone in enumerate(tasks):
        assert (together[index] - values(qwen, alone)[0]).abs().max() < 1e-5


def test_plain_and_lightning_tasks_share_no_batch(qwen):
    assert qwen.batch_key(task(prompt="a")) == qwen.batch_key(task(prompt="b", seed=2))
    assert qwen.batch_key(task()) != qwen.batch_key(task(checkpoint="lightning"))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"width": 70, "height": 50}, "64x48"),
        ({"steps": 20, "checkpoint": "lightning"}, "1 to 8"),
        ({"checkpoint": "turbo"}, "'turbo'"),
        ({"guidance": -1.0}, "guidance"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(qwen, changes, names):
    with pytest.raises(BadRequest, match=names):
        picture(qwen, **changes)


def test_without_its_weights_lightning_is_missing_and_the_rest_works(folders):
    alone = QwenImage(Loading({"base": folders["base"]}))
    with pytest.raises(WeightsMissing, match="Lightning"):
        picture(alone, checkpoint="lightning", steps=4)
    assert picture(alone).shape == (48, 64, 3)


def test_a_file_of_another_model_is_refused(folders, tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"down.weight": torch.zeros(2, 2)}, tmp_path / "Other-4steps-V1.safetensors")
    with pytest.raises(WeightsMissing, match="Other-4steps"):
        QwenImage(Loading({"base": folders["base"], "lightning": tmp_path}))
    with pytest.raises(WeightsMissing, match="4steps"):
        QwenImage(Loading({"base": folders["base"], "lightning": folders["base"]}))
