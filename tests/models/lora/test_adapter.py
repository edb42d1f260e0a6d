"""One LoRA in the spellings of several trainers, converted to the same matrices."""

import json

import pytest

from models.errors import LoraRejected
from models.lora.adapter import load_adapter
from models.lora.base import Base, base_of
from models.tiny.loras import build_realism
from models.torchvision_ops import declare
from tests.models.lora.making import peft, save

LAYER = "transformer.transformer_blocks.0.attn.to_out.0"


@pytest.fixture(scope="module")
def flux() -> Base:
    declare()
    from diffusers.loaders.lora_pipeline import FluxLoraLoaderMixin

    from models.tiny import flux

    class Pipe(FluxLoraLoaderMixin):
        transformer = flux._transformer(True)
        text_encoder = flux.clip_text()

    return base_of(Pipe(), 16)


def loaded(tensors, base, tmp_path, metadata=None):
    return load_adapter(save(tensors, tmp_path / "x.safetensors", metadata), base)


def product(adapter, layer=LAYER):
    a, b = adapter.matrices[layer]
    return b @ a


def test_kohya_comfy_and_old_diffusers_names_mean_the_same_matrices(flux, tmp_path):
    import torch

    tensors = peft({LAYER: flux.layers[LAYER]})
    down, up = tensors.values()
    expected = product(loaded(tensors, flux, tmp_path))
    spellings = {
        "kohya": ("lora_unet_double_blocks_0_img_attn_proj", ".lora_down.weight", ".lora_up.weight"),
        "old diffusers": (LAYER, ".lora.down.weight", ".lora.up.weight"),
    }
    for name, (layer, a, b) in spellings.items():
        adapter = loaded({layer + a: down, layer + b: up}, flux, tmp_path)
        assert torch.allclose(product(adapter), expected, atol=1e-6), name
        assert list(adapter.matrices) == [LAYER], name


def test_alpha_scales_in_files_and_in_metadata(flux, tmp_path):
    import torch

    tensors = peft({LAYER: flux.layers[LAYER]}, rank=4)
    down, up = tensors.values()
    expected = product(loaded(tensors, flux, tmp_path)) / 2
    kohya = "lora_unet_double_blocks_0_img_attn_proj"
    halved = loaded({f"{kohya}.lora_down.weight": down, f"{kohya}.lora_up.weight": up, f"{kohya}.alpha": torch.tensor(2.0)}, flux, tmp_path)
    assert torch.allclose(product(halved), expected, atol=1e-6)
    beside = loaded(tensors | {f"{LAYER}.alpha": torch.tensor(2.0)}, flux, tmp_path)
    assert torch.allclose(product(beside), expected, atol=1e-6)
    metadata = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 2, "transformer.r": 4})}
    assert torch.allclose(product(loaded(tensors, flux, tmp_path, metadata)), expected, atol=1e-6)


def test_fused_projections_are_taken_apart(flux, tmp_path):
    build_realism(tmp_path)
    adapter = load_adapter(tmp_path / "lora.safetensors", flux)
    assert {name.rpartition(".")[2] for name in adapter.matrices} >= {"to_q", "to_k", "to_v", "add_q_proj"}


def test_the_text_encoders_part_finds_its_layers(flux, tmp_path):
    shape = flux.layers["text_encoder.encoder.layers.0.self_attn.q_proj"]
    adapter = loaded(peft({"text_encoder.text_model.encoder.layers.0.self_attn.q_proj": shape}), flux, tmp_path)
    assert list(adapter.matrices) == ["text_encoder.encoder.layers.0.self_attn.q_proj"]


@pytest.mark.parametrize(
    ("layers", "rank", "says"),
    [
        ({LAYER: (8, 8)}, 4, "32 → 32 in this model"),
        ({"transformer.blocks.0.attn1.to_q": (32, 32)}, 4, "another base"),
        ({LAYER: (32, 32)}, 20, "at most 16"),
    ],
)
def test_what_does_not_fit_the_base_is_refused_with_the_layer(flux, tmp_path, layers, rank, says):
    with pytest.raises(LoraRejected, match=says):
        loaded(peft(layers, rank=rank), flux, tmp_path)


def test_values_that_are_not_numbers_are_refused(flux, tmp_path):
    tensors = peft({LAYER: flux.layers[LAYER]})
    next(iter(tensors.values()))[0, 0] = float("nan")
    with pytest.raises(LoraRejected, match="not numbers"):
        loaded(tensors, flux, tmp_path)


def test_a_lora_of_one_expert_acts_on_the_second_where_that_is_alike(tmp_path):
    alike, unlike = "blocks.0.attn1.to_q", "blocks.0.ffn.net.2"
    first = {f"transformer.{alike}": (8, 8), f"transformer.{unlike}": (8, 16)}
    base = Base("WanLoraLoaderMixin", first | {f"transformer_2.{alike}": (8, 8), f"transformer_2.{unlike}": (8, 24)}, 16)
    adapter = loaded(peft(first), base, tmp_path)
    assert adapter.matrices.keys() == first.keys() | {f"transformer_2.{alike}"}
    assert adapter.matrices[f"transformer_2.{alike}"] is adapter.matrices[f"transformer.{alike}"]
    both = loaded(peft({f"transformer.{alike}": (8, 8), f"transformer_2.{unlike}": (8, 24)}), base, tmp_path)
    assert both.matrices.keys() == {f"transformer.{alike}", f"transformer_2.{unlike}"}
