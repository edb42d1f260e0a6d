import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.errors import WeightsMissing
from models.seedvr2.loading import load


@pytest.fixture
def folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "copy")


def dit(folder):
    (path,) = folder.glob("seedvr2_ema_*.safetensors")
    return path


def test_every_tensor_gets_its_place(folder):
    networks = load([folder], "cpu")
    state = networks.dit.state_dict()
    for name, tensor in load_file(dit(folder)).items():
        assert torch.equal(state[name], tensor)
    assert not any(parameter.requires_grad for parameter in networks.dit.parameters())
    assert networks.prompt.shape == (8, 24)


def test_half_precision_files_load_and_positions_stay_float32(folder):
    save_file({name: tensor.half() for name, tensor in load_file(dit(folder)).items()}, dit(folder))
    networks = load([folder], "cpu")
    assert {tensor.dtype for tensor in networks.dit.state_dict().values()} == {torch.float32}


def change(path, edit):
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda tensors: tensors.pop("blocks.1.attn.proj_qkv.vid.weight"), r"Missing key.*blocks\.1\.attn\.proj_qkv\.vid\.weight"),
        (lambda tensors: tensors.update(surprise=torch.zeros(1)), "Unexpected key.*surprise"),
        (lambda tensors: tensors.update({"txt_in.bias": torch.zeros(7)}), r"size mismatch for txt_in\.bias"),
    ],
)
def test_a_transformer_that_does_not_fit_is_refused(folder, edit, message):
    change(dit(folder), edit)
    with pytest.raises(WeightsMissing, match=message):
        load([folder], "cpu")


def test_an_autoencoder_that_does_not_fit_is_refused(folder):
    change(folder / "ema_vae_fp16.safetensors", lambda tensors: tensors.pop("decoder.conv_out.bias"))
    with pytest.raises(WeightsMissing, match=r"ema_vae_fp16\.safetensors does not fit.*decoder\.conv_out\.bias"):
        load([folder], "cpu")


def test_a_prompt_of_another_width_is_refused(folder):
    save_file({"embedding": torch.zeros(8, 25)}, folder / "pos_emb.safetensors")
    with pytest.raises(WeightsMissing, match=r"must hold one tensor \(tokens, 24\), got \[\(8, 25\)\]"):
        load([folder], "cpu")


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


def test_a_pickle_in_disguise_is_refused_unopened(folder):
    dit(folder).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsMissing, match="is not a safetensors file"):
        load([folder], "cpu")
