import pickle

import pytest

from tools.convert_weights import convert, main


@pytest.fixture
def published(tmp_path):
    """A pickle like InstantID's: two dicts of tensors, two of them on one memory, and a number."""
    import torch

    shared = torch.arange(6.0).view(2, 3)
    nested = {"image_proj": {"latents": shared, "tied": shared}, "ip_adapter": {"1.to_k_ip.weight": torch.ones(2, 2).half().t()}, "step": 7}
    torch.save(nested, tmp_path / "ip-adapter.bin")
    return tmp_path / "ip-adapter.bin"


def test_names_are_joined_and_values_kept(published, capsys):
    import torch
    from safetensors.torch import load_file

    target = published.with_suffix(".safetensors")
    main([str(published), str(target)])
    weights = load_file(target)
    assert sorted(weights) == ["image_proj.latents", "image_proj.tied", "ip_adapter.1.to_k_ip.weight"]
    assert torch.equal(weights["image_proj.tied"], torch.arange(6.0).view(2, 3))
    assert weights["ip_adapter.1.to_k_ip.weight"].dtype == torch.float16
    assert "3 tensors" in capsys.readouterr().out


def test_only_one_part_may_be_kept(published):
    from safetensors.torch import load_file

    target = published.with_suffix(".safetensors")
    assert convert(published, target, only="ip_adapter.") == 1
    assert list(load_file(target)) == ["ip_adapter.1.to_k_ip.weight"]
    with pytest.raises(ValueError, match=r"no tensors named visual\."):
        convert(published, target, only="visual.")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    (tmp_path / "bad.bin").write_bytes(pickle.dumps({"weights": Bomb()}, protocol=2))
    with pytest.raises(pickle.UnpicklingError):
        convert(tmp_path / "bad.bin", tmp_path / "bad.safetensors")
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "bad.safetensors").exists()


def test_the_target_is_a_safetensors_file(published):
    with pytest.raises(SystemExit):
        main([str(published), "out.bin"])


def test_instantid_loads_what_was_converted(tmp_path):
    """The pickle as published, converted, is what the InstantID module opens."""
    import torch
    from safetensors.torch import load_file

    from models.tiny.faces import build_instantid

    build_instantid(tmp_path)
    file = tmp_path / "ip-adapter.safetensors"
    weights = load_file(file)
    nested = {
        part: {k.removeprefix(f"{part}."): v for k, v in weights.items() if k.startswith(part)} for part in ("image_proj", "ip_adapter")
    }
    torch.save(nested, tmp_path / "ip-adapter.bin")
    file.unlink()
    convert(tmp_path / "ip-adapter.bin", file)
    again = load_file(file)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)
