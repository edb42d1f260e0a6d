"""Moving colour fields that follow simple words: the clips of text to video."""

import math
import random
from dataclasses import dataclass

import torch

from tools.tiny_weights import latents
from tools.tiny_weights.words import COLOURS, SHAPES

_HEADINGS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
_NAMES = {"circle": ("circle", "ball", "dot"), "square": ("square",), "triangle": ("triangle",), "stripes": ("stripes",)}
MOST = 3  # shapes in a clip


@dataclass(frozen=True, slots=True)
class Canvas:
    """One clip: what its prompt says, and what it leaves open, as numbers."""

    text: str
    back: tuple[float, float, float]
    far: tuple[float, float, float]  # the background's colour at the other end of its slope
    colour: tuple[float, float, float]
    shape: int  # index into SHAPES, or len(SHAPES) for none
    count: int
    heading: tuple[float, float]  # pixels a frame


def invent(numbers: random.Random) -> Canvas:
    """A random clip and a prompt that tells some of it."""
    back, colour = numbers.sample(list(COLOURS), 2)
    told_back, told_shape, told_heading = numbers.random() < 0.8, numbers.random() < 0.85, numbers.random() < 0.5
    shape = numbers.choice(SHAPES) if numbers.random() < 0.9 else None
    count = numbers.choice((1, 1, 1, 2, 3)) if shape != "stripes" else 1
    towards = numbers.choice(list(_HEADINGS))
    pace = numbers.uniform(0.8, 2.2)
    heading = (_HEADINGS[towards][0] * pace, _HEADINGS[towards][1] * pace)
    parts: list[str] = []
    if shape and told_shape:
        name = numbers.choice(_NAMES[shape])
        words = (
            f"{colour} {name}"
            if shape == "stripes"
            else {1: f"a {colour} {name}", 2: f"two {colour} {name}s", 3: f"three {colour} {name}s"}[count]
        )
        parts.append(
            words + (numbers.choice((f" moving {towards}", f" moves {towards}", f" moving to the {towards}")) if told_heading else "")
        )
    if told_back:
        place = numbers.choice((f"on a {back} background", f"{back} background", f"a {back} field", f"in front of a {back} background"))
        parts = (
            numbers.choice(([*parts, place], [place, *parts]))
            if "on" not in place.split() and "in" not in place.split()
            else [*parts, place]
        )
    text = numbers.choice((" ", ", ")).join(parts)
    if not parts:
        text = numbers.choice(("", "a woman walking in the park", "cinematic video", "abstract moving field"))
    text = numbers.choice((str, str.capitalize, lambda line: line + ", cinematic", lambda line: "video of " + line))(text) if text else text
    slope = 0.0 if numbers.random() < 0.5 else numbers.uniform(0.1, 0.35)
    far = tuple(min(1.0, max(0.0, value + slope * numbers.uniform(-1, 1))) for value in COLOURS[back])
    return Canvas(
        text, COLOURS[back], (far[0], far[1], far[2]), COLOURS[colour], SHAPES.index(shape) if shape else len(SHAPES), count, heading
    )


def paint(canvases: list[Canvas], size: tuple[int, int, int], generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Every fourth frame, (B, 3, T, H, W) in -1..1, and how content moved over the four frames before.

    The latter is (B, T, h, w, 2), as `latents` wants it.
    """
    height, width, instants = size
    device, count = generator.device, len(canvases)
    number = torch.tensor([[canvas.shape, canvas.count] for canvas in canvases], device=device)[..., None, None, None]  # (B, 2, 1, 1, 1)
    colours = torch.tensor([[canvas.back, canvas.far, canvas.colour] for canvas in canvases], device=device)[..., None, None, None]
    heading = torch.tensor([canvas.heading for canvas in canvases], device=device)[..., None, None, None]
    chance = torch.rand(count, MOST, 5, 1, 1, 1, generator=generator, device=device)
    middle = 4.0 * (instants - 1) / 2
    time = 4.0 * torch.arange(instants, device=device)[:, None, None] - middle

    def cover(step: int) -> torch.Tensor:
        """How much of each point, `step` pixels apart, the shapes cover: (B, T, H / step, W / step)."""
        y = (torch.arange(height // step, device=device) * float(step) + step / 2)[:, None]
        x = (torch.arange(width // step, device=device) * float(step) + step / 2)[None]
        covered = torch.zeros(count, instants, height // step, width // step, device=device)
        for each in range(MOST):
            one = chance[:, each]
            radius = (0.09 + 0.15 * one[:, 0]) * min(height, width) * (1.3 - 0.2 * number[:, 1])
            dx = x - (0.15 + 0.7 * one[:, 1]) * width - heading[:, 0] * time
            dy = y - (0.15 + 0.7 * one[:, 2]) * height - heading[:, 1] * time
            circle = torch.hypot(dx, dy) - radius
            square = torch.maximum(dx.abs(), dy.abs()) - 0.85 * radius
            triangle = torch.maximum(0.87 * dx.abs() - 0.5 * dy, dy) - 0.6 * radius
            along = torch.where(heading[:, 0].abs() > 0, dx, dy)
            stripes = (torch.sin(along * (2 * math.pi / (1.6 * radius + 40))) * 0.3) * (1.6 * radius + 40) / 2
            shape, here = number[:, 0], (number[:, 1] > each).float()
            edge = torch.where(shape == 0, circle, torch.where(shape == 1, square, torch.where(shape == 2, triangle, stripes)))
            covered = torch.maximum(covered, (0.5 - edge / 1.5).clamp(0, 1) * here * (shape < len(SHAPES)))
        return covered

    tilt = chance[:, 0, 3] * 2 - 1
    across = torch.arange(width, device=device)[None] / width - 0.5
    along = torch.arange(height, device=device)[:, None] / height - 0.5
    blend = (0.5 + across * tilt + along * (1 - tilt.abs())).clamp(0, 1)[:, None]  # (B, 1, 1, H, W)
    back = torch.lerp(colours[:, 0].expand(-1, -1, 1, height, width), colours[:, 1].expand(-1, -1, 1, height, width), blend)
    pixels = cover(1)[:, None]
    frames = torch.lerp(back.expand(-1, -1, instants, -1, -1), colours[:, 2].expand(-1, -1, instants, height, width), pixels)
    moved = -4.0 * heading[:, :, 0, 0, 0][:, None, None, None, :] * (cover(latents.CELL)[..., None] > 0.5)
    moved[:, 0] = 0
    return frames * 2 - 1, moved
