import pytest
import torch

from tools.tiny_weights import camera, latents


@pytest.fixture(scope="module")
def basis() -> latents.Basis:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(6, 3, 12, 12, generator=generator) * 2 - 1
    return latents.Basis.fit(torch.nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic").clamp(-1, 1))


def test_the_basis_is_orthonormal_and_gives_smooth_pictures_back(basis: latents.Basis) -> None:
    flat = basis.functions.flatten(1)
    assert torch.allclose(flat @ flat.T, torch.eye(latents.TONES), atol=1e-4)
    ramp = torch.linspace(-0.8, 0.8, 64).expand(1, 3, 64, 64)
    assert torch.mean((basis.decode(basis.encode(ramp)) - ramp).abs()) < 0.01


def test_a_saved_basis_is_the_same(basis: latents.Basis, tmp_path) -> None:
    basis.save(tmp_path)
    again = latents.Basis.load(tmp_path, torch.device("cpu"))
    assert torch.equal(again.functions, basis.functions)
    assert torch.equal(again.spread, basis.spread)


def test_a_plan_tells_its_field_back() -> None:
    fields = torch.rand(2, 3, 4, 6, 2) * 200 - 100
    assert torch.allclose(latents.read_field(latents.plan(fields, fields)), fields, atol=1e-2)


def test_a_code_is_no_field_and_stands_in_spare_channels() -> None:
    code = latents.code(torch.eye(13)[:2], (3, 4, 6))
    assert code[:, : latents.KNOWN].abs().max() == 0
    assert code[0, latents.CODE.start].min() == latents.CODE_GAIN
    assert latents.CODE.stop <= latents.CHANNELS


def test_the_ideal_code_of_a_clip(basis: latents.Basis) -> None:
    move = camera.Named(torch.tensor([[float(name == "pan right") for name in camera.MOVES]]), torch.zeros(1, 2))
    times = torch.tensor([[0.0, 4.0, 8.0]])
    frames = torch.rand(1, 3, 3, 64, 96) * 2 - 1
    fields, before = camera.cells(move.at(times), 64, 96), camera.cells(move.at(times - 4), 64, 96)
    ideal = latents.ideal(basis, frames, fields, before)
    assert ideal.shape == (1, latents.CHANNELS, 3, 4, 6)
    assert torch.allclose(ideal[0, : latents.TONES, 1], basis.encode(frames[:, :, 1])[0], atol=1e-5)
    speed = ideal[0, latents.TONES + latents.EDGES]
    assert torch.allclose(speed[0], torch.zeros(4, 6))
    assert torch.allclose(speed[1:], torch.full((2, 4, 6), camera.PAN / 8 / latents.SPEED_UNIT), atol=1e-4)
    board = ideal[0, latents.KNOWN, 1]
    assert torch.equal(board[:, 0], -board[:, 1])
    assert ideal[0, latents.KNOWN :, 0].abs().max() == 0
