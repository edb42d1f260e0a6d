import pytest
import torch

from tools.tiny_weights import camera


def moved(name: str, *, speed: str | None = None) -> camera.Named:
    moves = torch.tensor([[float(move == name) for move in camera.MOVES]])
    return camera.Named(moves, torch.tensor([[float(each == speed) for each in camera.SPEEDS]]))


@pytest.mark.parametrize("name", camera.MOVES)
def test_every_move_begins_at_the_picture(name: str) -> None:
    path = moved(name).at(torch.tensor([[0.0, -4.0]]))
    assert torch.all(camera.cells(path, 64, 96).abs() < 1e-4)


@pytest.mark.parametrize(("name", "axis", "sign"), [("pan left", 0, -1), ("pan right", 0, 1), ("tilt up", 1, -1), ("tilt down", 1, 1)])
def test_pans_and_tilts_fetch_content_from_where_the_camera_goes(name: str, axis: int, sign: int) -> None:
    field = camera.cells(moved(name).at(torch.tensor([[16.0]])), 64, 96)
    assert torch.all(field[..., axis] * sign > 10)
    assert torch.all(field[..., 1 - axis].abs() < 1e-4)


def test_zooming_in_fetches_content_nearer_the_middle() -> None:
    field = camera.cells(moved("zoom in").at(torch.tensor([[32.0]])), 64, 96)[0, 0]
    assert field[0, 0, 0] > 0  # left cells from further right
    assert field[0, -1, 0] < 0
    assert field[0, 0, 1] > 0
    assert field[-1, 0, 1] < 0


def test_fast_is_three_times_slow_and_moves_add_up() -> None:
    slow, fast = (moved("pan left", speed=speed).at(torch.tensor([[20.0]])).x for speed in ("slow", "fast"))
    assert torch.allclose(fast, 3 * slow)
    both = camera.Named(moved("pan left").moves + moved("tilt up").moves, torch.zeros(1, 2)).at(torch.tensor([[8.0]]))
    assert float(both.x) < 0
    assert float(both.y) < 0


def test_a_rendered_pan_is_a_shift_with_mirrored_edges() -> None:
    picture = torch.rand(1, 3, 32, 48) * 1.8 - 0.9
    frames = camera.render(picture, moved("pan left").at(torch.tensor([[0.0, 4.0]])))  # 6 pixels
    assert torch.allclose(frames[:, :, 0], picture, atol=1e-4)
    assert torch.allclose(frames[:, :, 1, :, 6:], picture[..., :-6], atol=1e-4)
    assert torch.allclose(frames[:, :, 1, :, :6], picture[..., :6].flip(-1), atol=1e-4)


def test_wandering_is_repeatable() -> None:
    paths = [camera.Wander.draw(3, torch.Generator().manual_seed(5)).at(torch.tensor([[0.0, 12.0]])) for _ in range(2)]
    assert torch.equal(paths[0].x, paths[1].x)
    assert torch.all(paths[0].x[:, 0] == 0)
