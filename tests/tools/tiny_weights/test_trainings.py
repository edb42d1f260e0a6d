from pathlib import Path

import pytest
import torch

from tools.tiny_weights import (
    latents,
    networks,
    scenes,
    train_canvas_painter,
    train_canvas_planner,
    train_joint,
    train_planner,
    train_renderer,
    train_vae,
)
from tools.tiny_weights.convolution import quicken
from tools.tiny_weights.course import Setting, restore
from tools.tiny_weights.muon import orthogonal
from tools.tiny_weights.relabel import FIRST_CODE, exchange

CPU = torch.device("cpu")


def test_the_quickened_autoencoder_computes_the_same() -> None:
    torch.manual_seed(0)
    network, clip = networks.autoencoder(), torch.rand(1, 3, 9, 32, 48) * 2 - 1
    with torch.no_grad():
        code = network.encode(clip).latent_dist.mean
        shown = network.decode(code).sample
        quicken(network)
        assert torch.allclose(network.encode(clip).latent_dist.mean, code, atol=1e-5)
        assert torch.allclose(network.decode(code).sample, shown, atol=1e-4)


def test_a_deaf_renderer_does_not_hear_the_prompt() -> None:
    torch.manual_seed(0)
    network = networks.renderer()
    train_renderer.deafen(network)
    state, time = torch.randn(1, latents.CHANNELS, 2, 4, 6), torch.full((1, 12), 20.0)
    with torch.no_grad():
        answers = [network(state, time, torch.randn(1, 5, networks.TEXT_WIDTH)).sample for _ in range(2)]
    assert torch.equal(answers[0], answers[1])


def test_orthogonal_has_singular_values_near_one() -> None:
    for shape in ((2, 8, 20), (1, 30, 10)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
        assert float(values.min()) > 0.5
        assert float(values.max()) < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("course", ["vae", "renderer", "planner", "joint", "canvas_planner", "canvas_painter"])
def test_each_course_runs_and_keeps_its_weights(course: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = scenes.stock(2, 256, 1, CPU)
    torch.save(pictures, tmp_path / "stock.pt")
    latents.Basis.fit(pictures.float() / 127.5 - 1).save(tmp_path)
    monkeypatch.setattr(train_renderer, "SHAPES", ((64, 96, 3, 2),))
    monkeypatch.setattr(train_joint, "SHAPES", ((64, 96, 3, 1),))
    monkeypatch.setattr(train_planner, "SHAPES", ((64, 96, 3, 2),))
    monkeypatch.setattr(train_planner, "SMALL", (64, 96, 2, 2))
    for trained in (train_canvas_planner, train_canvas_painter):
        monkeypatch.setattr(trained, "SHAPES", ((64, 96, 3, 2),))
    monkeypatch.setattr(train_canvas_planner, "SMALL", (64, 96, 2, 2))
    trains = {"vae": train_vae, "renderer": train_renderer, "planner": train_planner, "joint": train_joint}
    trains |= {"canvas_planner": train_canvas_planner, "canvas_painter": train_canvas_painter}
    setting = Setting(tmp_path, tmp_path, tmp_path / "stock.pt", CPU, seconds=100, steps=2, share=0.1)
    trains[course].train(setting)
    assert (tmp_path / f"{course}.jsonl").read_text().startswith('{"course"')
    made = {
        "vae": (networks.autoencoder, "vae"),
        "joint": (networks.autoencoder, "vae"),
        "renderer": (networks.renderer, "renderer"),
        "planner": (networks.planner, "planner"),
        "canvas_planner": (networks.canvas_planner, "planner"),
        "canvas_painter": (networks.canvas_painter, "painter"),
    }
    build, key = made[course]
    network = build()
    restore(network, tmp_path, course, key)
    assert all(bool(weight.isfinite().all()) for weight in network.parameters())


def test_an_exchange_of_channels_renames_them_and_changes_nothing_else() -> None:
    torch.manual_seed(0)
    network, state = networks.planner(), torch.randn(1, latents.CHANNELS, 2, 4, 6)
    time, text = torch.full((1, 12), 500.0), torch.randn(1, 5, networks.TEXT_WIDTH)
    order = torch.cat((torch.arange(64, 77), torch.arange(13, 64), torch.arange(0, 13), torch.arange(77, 80)))
    with torch.no_grad():
        before = network(state, time, text).sample
        exchange(network, FIRST_CODE, latents.CODE)
        after = network(state[:, order], time, text).sample
    assert torch.allclose(after, before[:, order], atol=1e-5)
    assert not torch.allclose(after, before, atol=1e-2)


def test_a_blind_renderer_does_not_see_the_code() -> None:
    torch.manual_seed(0)
    network, state = networks.renderer(), torch.randn(1, latents.CHANNELS, 2, 4, 6)
    train_renderer.blind(network)
    time, text = torch.full((1, 12), 20.0), torch.zeros(1, 5, networks.TEXT_WIDTH)
    coded = state + latents.code(torch.ones(1, 13), (2, 4, 6))
    with torch.no_grad():
        assert torch.equal(network(state, time, text).sample, network(coded, time, text).sample)
