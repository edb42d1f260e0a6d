import pickle

import pytest
import torch
from safetensors.torch import load_file

from models.seedvr2.convert import convert, main


def test_names_and_numbers_are_kept(tmp_path, monkeypatch, capsys):
    weights = {"vid_in.proj.weight": torch.randn(3, 4).bfloat16(), "view": torch.arange(6.0).view(2, 3).T}
    torch.save(weights, tmp_path / "seedvr2_ema_3b.pth")
    torch.save(torch.ones(58, 5), tmp_path / "pos_emb.pt")
    monkeypatch.setattr("sys.argv", ["convert", str(tmp_path)])
    main()
    converted = load_file(tmp_path / "seedvr2_ema_3b.safetensors")
    assert converted.keys() == weights.keys()
    assert all(torch.equal(converted[name], tensor) for name, tensor in weights.items())
    assert torch.equal(load_file(tmp_path / "pos_emb.safetensors")["embedding"], torch.ones(58, 5))
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / name) for name in ("seedvr2_ema_3b.safetensors", "pos_emb.safetensors")]


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was run",)


def test_code_in_a_pickle_is_not_run(tmp_path):
    torch.save({"weight": Bomb()}, tmp_path / "ema_vae.pth")
    with pytest.raises(pickle.UnpicklingError):
        convert(tmp_path / "ema_vae.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["ema_vae.pth"]


def test_a_folder_without_the_authors_files_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["convert", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
