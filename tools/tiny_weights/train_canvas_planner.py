"""Trains the high-noise expert of text to video: from noise and the prompt to the plan of the clip.

The prompt's code is 1 for what the prompt asks and 0 else, so guidance of strength w makes it w times as large; the painter only reads
which choice is the largest. Everything else in a plan does not depend on the prompt, and guidance leaves it alone.
"""

import random

import torch
from torch import nn
from torch.nn import functional

from tools.tiny_weights import canvas, canvas_plan, latents, networks
from tools.tiny_weights.canvas_plan import CODE, DRAWN, FIELD, MARKS, OPEN, PLACES
from tools.tiny_weights.course import Course, Setting, restore
from tools.tiny_weights.words import Reader, negative, sentence

TOKENS = 512  # of a prompt in use; zeros behind its end
UNSURE = 12.0  # pixels by which a place may differ from the one that the noise draws

# (height, width, latents of the clip, clips a step)
SHAPES = (
    (480, 832, 9, 8),
    (256, 448, 9, 20),
    (480, 832, 9, 8),
    (832, 480, 9, 8),
    (480, 832, 5, 12),
    (480, 832, 9, 8),
    (640, 640, 9, 8),
    (480, 832, 3, 16),
)
SMALL = (96, 160, 3, 128)  # many prompts, and edges everywhere
LONG = (480, 832, 21, 3)


def answer(network: nn.Module, state: torch.Tensor, noise: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The plan the network sees in `state` (B, CHANNELS, T, h, w) at noise (B,)."""
    with torch.autocast(state.device.type, torch.bfloat16, enabled=state.is_cuda):
        return network(state, (1000 * noise).round(), text, return_dict=False)[0].float()


def texts(reader: Reader, lines: list[str]) -> torch.Tensor:
    """Prompts encoded as in use: (B, TOKENS, width)."""
    read = reader.read(lines)
    return functional.pad(read, (0, 0, 0, TOKENS - read.shape[1]))


def wishes(count: int, numbers: random.Random) -> list[canvas.Wish]:
    """Prompts, among them such as guidance is measured from: none, negative ones, and camera prompts, which ask nothing of a canvas."""
    made = [canvas.invent(numbers) for _ in range(count)]
    for row in range(count):
        roll = numbers.random()
        if roll < 0.14:
            other = numbers.choice(("", negative(numbers), sentence(numbers).text if roll < 0.04 else ""))
            made[row] = canvas.Wish("" if _names_a_colour(other) else other, {})
    return made


def _names_a_colour(text: str) -> bool:
    return any(colour in text.lower() for colour in canvas.COLOURS)


def lesson(code: torch.Tensor, shape: tuple[int, int, int], generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States, their noise (B,) and the plans wanted for prompts of `code` (B, CODE_LENGTH)."""
    height, width, _ = shape
    device, count = code.device, len(code)

    def uniform() -> torch.Tensor:
        return torch.rand(count, generator=generator, device=device)

    size = (count, latents.CHANNELS, shape[2], height // latents.CELL, width // latents.CELL)
    first = torch.randn(size, generator=generator, device=device)
    draw = canvas.Draw.of(canvas_plan.drawn(first), height, width)
    draw.place.add_(UNSURE * torch.randn(count, 2, generator=generator, device=device))
    wanted = canvas_plan.plan(code, draw, shape)
    seen = wanted.clone()
    drive = torch.where(uniform() < 0.4, 1.0, 1 + 8 * uniform())[:, None]
    other = code.roll(1, 0) * (uniform() < 0.15)[:, None]
    seen[:, CODE] = ((drive * code - (drive - 1) * other) * (0.5 + 0.5 * uniform()[:, None]))[:, :, None, None, None]
    seen *= torch.where(uniform() < 0.6, 1.0, 1.1 * uniform())[:, None, None, None, None]  # early answers were shy
    low = torch.where(uniform() < 0.55, 0.7 + 0.28 * uniform(), 0.02 + 0.7 * uniform())
    kind = uniform()
    noise = torch.where(kind < 0.2, 1 - 0.003 * uniform(), torch.where(kind < 0.45, 1 - 0.04 * uniform(), low))
    level = noise[:, None, None, None, None]
    return (1 - level) * seen + level * first, noise, wanted


def loss_of(error: torch.Tensor) -> torch.Tensor:
    """Squared errors (B, CHANNELS, T, h, w) to one number: what the painter reads counts most.

    The first corner counts once more by itself. It alone sees what the noise draws: what it has learned to say, the others learn to hear.
    """
    share = ((CODE, 12.0), (OPEN, 1.0), (FIELD, 3.0), (MARKS, 2.0), (PLACES, 1.0), (DRAWN, 0.1))
    corner = error[:, OPEN.start : FIELD.stop, 0, :2, :2].mean()
    return sum((error[:, part].mean() * weight for part, weight in share), 2.0 * corner)


def train(setting: Setting) -> None:
    """Write the network `canvas_planner` to the setting's folder."""
    device, seed = setting.device, 5 + setting.seed
    torch.manual_seed(seed)
    numbers = random.Random(seed)
    generator = torch.Generator(device).manual_seed(seed)
    reader = Reader(device)
    network = restore(networks.canvas_planner(), setting.start, "canvas_planner", "planner").to(device)
    course = Course("canvas_planner", {"planner": network}, 2e-3, setting)
    trial = lesson(torch.zeros(2, canvas.CODE_LENGTH, device=device), SMALL[:3], generator)
    setting.quicken(network, lambda: answer(network, trial[0], trial[1], texts(reader, ["", ""])))
    while course.goes_on():
        *size, count = _shape(course)
        lines = wishes(max(1, round(count * setting.share)), numbers)
        code = torch.tensor([line.code() for line in lines], device=device)
        state, noise, wanted = lesson(code, (size[0], size[1], size[2]), generator)
        made = answer(network, state, noise, texts(reader, [line.text for line in lines]))
        error = (made - wanted).square()
        pure, clear = noise > 0.997, noise < 0.7
        facts = {name: error[:, part].mean() for name, part in (("code", CODE), ("marks", MARKS), ("places", PLACES))}
        facts["corner"] = error[:, OPEN.start : FIELD.stop, 0, :2, :2].mean()
        if course.step % 53 == 0:
            for name, chosen in (("pure", pure), ("clear", clear)):
                if bool(chosen.any()):
                    facts |= {f"field_{name}": error[chosen][:, FIELD].mean(), f"open_{name}": error[chosen][:, OPEN].mean()}
        course.update(loss_of(error), every=53, **facts)
        course.keep(every_seconds=60)
    course.save()


def _shape(course: Course) -> tuple[int, int, int, int]:
    """Small clips at first, then ever more large ones."""
    large = course.step % 2 == 0 if course.progress < 0.15 else course.step % 5 > 0
    if not large:
        return SMALL
    return LONG if course.step % 53 == 1 else SHAPES[course.step // 2 % len(SHAPES)]
