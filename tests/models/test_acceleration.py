import numpy as np
import pytest

from models.acceleration import card_name, compiles, default_device, lay_out, memory_guard, use_onednn
from models.errors import OutOfMemory
from models.torchvision_ops import declare


@pytest.mark.parametrize(
    ("full", "name"),
    [
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100-80GB"),
    ],
)
def test_cards_are_named_as_the_rate_table_names_them(monkeypatch, full, name):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: full)
    assert card_name() == name
    assert default_device() == "cuda"


def test_without_a_card_it_is_the_cpu(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (card_name(), default_device()) == ("CPU", "cpu")


def test_running_out_of_memory_is_told_with_its_remedy():
    import torch

    with pytest.raises(OutOfMemory, match="fewer frames"), memory_guard("fewer frames"):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")


def test_layout_and_onednn_change_nothing_but_the_speed():
    declare()
    import torch
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    vae = AutoencoderKLWan(base_dim=8, dim_mult=[1, 1, 2, 2], num_res_blocks=1).eval()
    video = torch.rand(1, 3, 5, 32, 48) * 2 - 1
    with torch.no_grad():
        before = vae.encode(video).latent_dist.mode(), vae.decode(torch.ones(1, 16, 2, 4, 6)).sample
        lay_out(vae)
        use_onednn(vae)
        after = vae.encode(video).latent_dist.mode(), vae.decode(torch.ones(1, 16, 2, 4, 6)).sample
    for one, two in zip(before, after, strict=True):
        assert np.allclose(one, two, atol=1e-5)


@pytest.mark.parametrize(
    ("wanted", "device", "compilers", "answer"),
    [
        (True, "cuda", {"gcc"}, True),
        (True, "cuda:1", {"clang"}, True),
        (True, "cuda", {"icc"}, True),  # named by CC
        (True, "cuda", set(), False),
        (True, "cpu", {"gcc"}, False),
        (False, "cuda", {"gcc"}, False),
    ],
)
def test_networks_are_compiled_on_cards_where_there_is_a_compiler(monkeypatch, caplog, wanted, device, compilers, answer):
    monkeypatch.setenv("CC", "icc")
    monkeypatch.setattr("shutil.which", lambda name: name if name in compilers else None)
    assert compiles(wanted, device) is answer
    assert ("serving plain networks" in caplog.text) == (wanted and device == "cuda" and not compilers)
