"""The published architecture at toy width with random weights: from a file through the swapper to pixels. It restores nothing."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.errors import WeightsMissing
from models.faceswap.gfpgan.network import Gfpgan, Shape
from models.faceswap.gfpgan.restorer import FILE, GfpganRestorer
from models.faceswap.swapper import FaceSwapper
from models.runner import Call
from models.task import SwapFaces
from models.weights import Loading

NARROW = Shape(unet=(8, 8, 8, 8, 8), decoder=(16, 16, 16, 16, 8), style=12)
PUBLISHED = Shape(unet=(256, 256, 256, 256, 256, 128, 64, 32), decoder=(512, 512, 512, 512, 512, 256, 128, 64), style=512)


def random_weights(shape):
    torch.manual_seed(0)
    with torch.device("meta"):
        network = Gfpgan(shape)
    weights = {name: 0.3 * torch.randn(tensor.shape) for name, tensor in network.state_dict().items()}
    weights |= {"toRGB.0.weight": torch.zeros(3, 8, 1, 1), "stylegan_decoder.style_mlp.1.weight": torch.zeros(12, 12)}  # of training
    return {f"params_ema.{name}": tensor for name, tensor in weights.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restorer")
    save_file(random_weights(NARROW), folder / FILE)
    return folder


def test_the_layout_is_the_published_one():
    with torch.device("meta"):
        tensors = {name: tuple(tensor.shape) for name, tensor in Gfpgan(PUBLISHED).state_dict().items()}
    assert PUBLISHED.side == 512
    assert tensors["conv_body_first.weight"] == (32, 3, 1, 1)
    assert tensors["conv_body_down.0.conv2.weight"] == (64, 32, 3, 3)
    assert tensors["conv_body_down.6.skip.weight"] == (256, 256, 1, 1)
    assert tensors["final_linear.weight"] == (16 * 512, 256 * 16)
    assert tensors["condition_scale.6.2.weight"] == (32, 32, 3, 3)
    assert tensors["stylegan_decoder.constant_input.weight"] == (1, 512, 4, 4)
    assert tensors["stylegan_decoder.style_convs.12.modulated_conv.weight"] == (1, 64, 128, 3, 3)
    assert tensors["stylegan_decoder.to_rgbs.6.modulated_conv.modulation.weight"] == (64, 512)
    assert tensors["stylegan_decoder.noises.noise14"] == (1, 1, 512, 512)


def test_restores_by_the_weights_in_the_file(folder):
    restorer = GfpganRestorer(folder, "cpu")
    assert restorer.side == 64
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    out = restorer.restore(crops)
    assert out.shape == crops.shape
    assert out.dtype == np.uint8
    assert out.std() > 1
    np.testing.assert_array_equal(out, restorer.restore(crops))  # its noise is stored, not drawn
    assert np.abs(out[1:].astype(int) - restorer.restore(crops[1:])).max() <= 1  # a batch equals its singles
    assert (out[0] != out[1]).any()


@pytest.mark.parametrize("damage", ["less", "more", "shape"])
def test_is_strict_about_its_tensors(folder, tmp_path, damage):
    weights = load_file(folder / FILE)
    name = "params_ema.conv_body_up.1.conv1.weight"
    if damage == "less":
        del weights[name]
    elif damage == "more":
        weights["params_ema.extra"] = torch.zeros(1)
    else:
        weights[name] = weights[name][:, :-1].contiguous()
    save_file(weights, tmp_path / FILE)
    with pytest.raises(WeightsMissing, match="does not hold GFPGAN's tensors"):
        GfpganRestorer(tmp_path, "cpu")


def test_absent_weights_and_pickles_are_named(tmp_path):
    with pytest.raises(WeightsMissing, match=r"GFPGANv1\.4\.safetensors is not in"):
        GfpganRestorer(tmp_path, "cpu")
    (tmp_path / "GFPGANv1.4.pth").write_bytes(b"a pickle")
    with pytest.raises(WeightsMissing, match="is a pickle and is not opened"):
        GfpganRestorer(tmp_path, "cpu")


def test_the_swapper_restores_with_it(folder, source, moving, chunks):
    swapper = FaceSwapper(Loading({"restorer": folder}))
    call = Call()
    restored = np.concatenate([part.pixels for part in swapper.transform(SwapFaces(source=source), chunks(moving[:3]), call)])
    plain = np.concatenate([part.pixels for part in swapper.transform(SwapFaces(source=source, restore=False), chunks(moving[:3]), Call())])
    swapper.close()
    assert call.facts["restored"] is True
    assert (restored != plain).any(axis=(1, 2, 3)).all()
    assert (plain[:, :20] == restored[:, :20]).all()  # above the face
