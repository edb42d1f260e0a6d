"""What prompts ask of a canvas, what the painted canvas shows, and whether the judge sees it."""

import random

import pytest
import torch

from tools.tiny_weights import canvas, canvas_plan, canvas_sampling, latents
from tools.tiny_weights.canvas import Wish

SIZE = (240, 416, 5)
OPEN = torch.tensor([[0.1, -0.1, 0.3, 0.2, 0.4]])


def painted(asked: dict[str, str]):
    """The perfect clip (5, 240, 416, 3) of what is asked."""
    scene = canvas.Scene.of(torch.tensor([Wish("", asked).code()]), canvas.Draw.of(OPEN, *SIZE[:2]))
    frames, _ = canvas.paint(scene, SIZE)
    return ((frames[0].permute(1, 2, 3, 0) + 1) * 127.5).round().byte().numpy()


@pytest.mark.parametrize("shape", ["circle", "square", "triangle"])
@pytest.mark.parametrize("heading", ["left", "right", "up", "down", "still"])
def test_the_judge_sees_a_perfect_clip_as_it_is(shape, heading):
    asked = {"ground": "blue", "colour": "red", "shape": shape, "heading": heading}
    assert canvas_sampling.watch(painted(asked)).hits(Wish("", asked)) == dict.fromkeys(canvas_sampling.JUDGED, True)


def test_the_judge_sees_stripes_and_what_is_wrong():
    asked = {"ground": "white", "colour": "green", "shape": "stripes", "heading": "right"}
    assert canvas_sampling.watch(painted(asked)).hits(Wish("", asked))["shape"]  # which of two colours is the ground, it guesses
    other = {"ground": "black", "colour": "pink", "shape": "circle", "heading": "left"}
    assert not any(canvas_sampling.watch(painted(asked)).hits(Wish("", other)).values())


def test_what_a_prompt_asks_is_in_its_words():
    numbers = random.Random(0)
    for _ in range(300):
        wish = canvas.invent(numbers)
        words = wish.text.lower().replace("gray", "grey")
        assert all(wish.asked[name] in words for name in ("ground", "colour") if name in wish.asked), wish
        assert sum(wish.code()) == len(wish.asked)


def test_the_noise_draws_what_a_prompt_leaves_open():
    noise = torch.randn(400, latents.CHANNELS, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    drawn = canvas_plan.drawn(noise)
    assert drawn.shape == (400, 5)
    assert float(drawn.abs().max()) <= 1
    assert float((drawn.std() - 3**-0.5).abs()) < 0.02  # as even numbers in -1..1 have
    elsewhere = noise.clone()
    elsewhere[:, :, :, 2:] = 0
    assert torch.equal(canvas_plan.drawn(elsewhere), drawn)


def test_a_plan_says_the_code_everywhere_and_how_far_the_figure_is():
    code = torch.tensor([Wish("", {"ground": "blue", "shape": "circle"}).code()])
    draw = canvas.Draw.of(OPEN, *SIZE[:2])
    plan = canvas_plan.plan(code, draw, SIZE)
    assert plan.shape == (1, latents.CHANNELS, 5, 15, 26)
    assert bool((plan[0, canvas_plan.CODE] == code[0, :, None, None, None]).all())
    away = plan[0, canvas_plan.FIELD][:2, 0].norm(dim=0)  # the distance as plain numbers
    row, column = divmod(int(away.argmin()), away.shape[1])
    place = torch.tensor([(column + 0.5) * latents.CELL - SIZE[1] / 2, (row + 0.5) * latents.CELL - SIZE[0] / 2])
    assert float((place - draw.place[0]).abs().max()) <= latents.CELL
