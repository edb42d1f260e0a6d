import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from models.errors import WeightsMissing
from models.wan.checkpoint import load


@pytest.fixture
def copy(t2v_folder, tmp_path):
    return shutil.copytree(t2v_folder, tmp_path / "copy")


def weights(folder, part):
    return next((folder / part).glob("*.safetensors"))


def test_a_whole_checkpoint_loads_in_the_formats_of_its_parts(copy):
    import torch

    pipe = load("WanPipeline", copy, "cpu")
    assert {pipe.vae.dtype, pipe.transformer.dtype, pipe.text_encoder.dtype} == {torch.float32}
    on_card = load("WanPipeline", copy, "cuda")  # loaded, not yet placed
    assert (on_card.vae.dtype, on_card.text_encoder.dtype) == (torch.float32, torch.bfloat16)
    assert on_card.transformer.proj_out.weight.dtype == torch.bfloat16
    assert on_card.transformer.scale_shift_table.dtype == torch.float32


@pytest.mark.parametrize(("part", "name"), [("transformer", "diffusion_pytorch_model.bin"), ("text_encoder", "pytorch_model.bin")])
def test_pickled_weights_are_refused(copy, part, name):
    import torch

    path = weights(copy, part)
    torch.save(load_file(path), path.with_name(name))
    path.unlink()
    with pytest.raises(WeightsMissing, match=part):
        load("WanPipeline", copy, "cpu")


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
@pytest.mark.parametrize("fault", ["missing", "unexpected", "misshapen"])
def test_weights_that_do_not_fit_are_refused(copy, part, fault):
    import torch

    path = weights(copy, part)
    state = load_file(path)
    name = max(state, key=lambda key: state[key].numel())
    if fault == "missing":
        del state[name]
    elif fault == "unexpected":
        state["surplus.weight"] = torch.zeros(2)
    else:
        state[name] = state[name][:1].clone()
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(WeightsMissing, match=part):
        load("WanPipeline", copy, "cpu")


def test_a_folder_without_its_index_or_a_part_is_refused(copy):
    shutil.rmtree(copy / "scheduler")
    with pytest.raises(WeightsMissing, match="not a whole checkpoint"):
        load("WanPipeline", copy, "cpu")
    (copy / "model_index.json").unlink()
    with pytest.raises(WeightsMissing, match="model_index"):
        load("WanPipeline", copy, "cpu")


def test_the_layout_is_the_published_one(t2v_folder):
    index = json.loads((t2v_folder / "model_index.json").read_text())
    assert index["_class_name"] == "WanPipeline"
    assert index["text_encoder"] == ["transformers", "UMT5EncoderModel"]
    scheduler = json.loads((t2v_folder / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["_class_name"] == "UniPCMultistepScheduler"
    assert scheduler["use_flow_sigmas"] is True
    assert json.loads((t2v_folder / "transformer" / "config.json").read_text())["patch_size"] == [1, 2, 2]
