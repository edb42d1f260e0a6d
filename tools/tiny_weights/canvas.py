"""Moving colour fields that follow simple words: what a prompt asks for, and the clips of text to video."""

import math
import random
from dataclasses import dataclass
from typing import Any

import torch

from tools.tiny_weights import latents
from tools.tiny_weights.words import COLOURS, SHAPES

HEADINGS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0), "still": (0.0, 0.0)}
SIZES = {"big": 1.5, "small": 0.6}  # times the radius
PACES = {"slow": 0.5, "fast": 1.7}  # times the speed
SPEED, DRIFT = 3.0, 1.2  # pixels a frame, where the prompt names a direction and where it does not
# What a prompt can ask for, in the order of its code.
CHOICES: dict[str, tuple[str, ...]] = {
    "ground": tuple(COLOURS),
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "heading": tuple(HEADINGS),
    "size": tuple(SIZES),
    "pace": tuple(PACES),
}
CODE_LENGTH = sum(map(len, CHOICES.values()))
_NAMES = {"circle": ("circle", "ball", "dot"), "square": ("square",), "triangle": ("triangle",), "stripes": ("stripes",)}
_MOVING = ("moving {}", "moves {}", "moving to the {}", "moves to the {}", ", moving {}", "which moves {}")
_STILL = ("still", "not moving", ", static", "does not move", "motionless")
_GROUND = ("on a {} background", "on {} background", "{} background", "on a {} field", "in front of a {} background", "on {}")
_SIZED = {"big": ("big", "large"), "small": ("small",)}
_PACED = {"slow": ("slowly", "gently"), "fast": ("fast", "quickly")}
_MANNER = ("cinematic", "film grain", "4k", "masterpiece", "soft light", "abstract", "highly detailed", "realistic", "golden hour")
_OTHER = (
    "",
    "a woman walking in the park",
    "cinematic video",
    "abstract moving field",
    "a lighthouse in a storm, waves",
    "a cat on a chair",
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A prompt and what it asks for: a name out of each of `CHOICES`, where it says one."""

    text: str
    asked: dict[str, str]

    def code(self) -> list[float]:
        """0 or 1 for every choice."""
        return [float(self.asked.get(group) == name) for group, names in CHOICES.items() for name in names]


def invent(numbers: random.Random) -> Wish:
    """A random prompt. Most tell everything; some leave things open; a few ask for nothing that a canvas could show."""
    if numbers.random() < 0.08:
        return Wish(numbers.choice(_OTHER), {})
    ground, colour = numbers.sample(list(COLOURS), 2)
    asked: dict[str, str] = {}
    parts: list[str] = []
    about = numbers.random() < 0.93
    if about:
        parts.append(_figure(numbers, colour, asked))
    if not about or numbers.random() < 0.87:
        asked["ground"] = ground
        place = numbers.choice(_GROUND).format(_spelt(numbers, ground))
        parts.append(place)
        if about and numbers.random() < 0.2:
            parts = [f"{_spelt(numbers, ground)} background", numbers.choice(("with ", "")) + parts[0]]
    text = numbers.choice((" ", " ", ", ")).join(parts).replace(" ,", ",")
    if numbers.random() < 0.3:
        text = numbers.choice(("video of {}", "{}, {m}", "{m}, {}", "{}, {m}", "a scene with {}")).format(text, m=numbers.choice(_MANNER))
    return Wish(numbers.choice((str, str, str.capitalize, lambda line: line + "."))(text), asked)


def _figure(numbers: random.Random, colour: str, asked: dict[str, str]) -> str:
    """Words for the figure; what they say goes into `asked`."""
    shape = numbers.choice((*SHAPES[:3], *SHAPES))
    asked |= {"colour": colour, "shape": shape}
    words = [_spelt(numbers, colour), numbers.choice(_NAMES[shape])]
    if shape != "stripes" and numbers.random() < 0.3:
        asked["size"] = numbers.choice(list(SIZES))
        words.insert(0, numbers.choice(_SIZED[asked["size"]]))
    if shape != "stripes" and numbers.random() < 0.8:
        words.insert(0, numbers.choice(("a", "a", "the", "one")))
    if numbers.random() < 0.75:
        asked["heading"] = numbers.choice((*list(HEADINGS)[:4], *HEADINGS))
        if asked["heading"] == "still":
            words.append(numbers.choice(_STILL))
        else:
            motion = numbers.choice(_MOVING).format(asked["heading"])
            if numbers.random() < 0.3:
                asked["pace"] = numbers.choice(list(PACES))
                motion += " " + numbers.choice(_PACED[asked["pace"]])
            words.append(motion)
    return " ".join(words)


def _spelt(numbers: random.Random, colour: str) -> str:
    return "gray" if colour == "grey" and numbers.random() < 0.5 else colour


@dataclass(frozen=True, slots=True)
class Draw:
    """What a prompt leaves open, for B clips.

    place: of the figure at mid-clip, from the middle, (B, 2) pixels. radius: (B,) pixels. hue, drift: (B,) radians, the latter a direction.
    """

    place: torch.Tensor
    radius: torch.Tensor
    hue: torch.Tensor
    drift: torch.Tensor

    @classmethod
    def of(cls, chance: torch.Tensor, height: int, width: int) -> "Draw":
        """From numbers (B, 5) in -1..1."""
        place = chance[:, :2] * torch.tensor([0.27 * width, 0.22 * height], device=chance.device)
        radius = min(height, width) * (0.165 + 0.045 * chance[:, 2])
        return cls(place, radius, math.pi * chance[:, 3], math.pi * chance[:, 4])


@dataclass(frozen=True, slots=True)
class Scene:
    """What B clips show: colours (B, 3) in 0..1, shape (B,), velocity (B, 2) in pixels a frame, place (B, 2) and radius (B,) in pixels."""

    ground: torch.Tensor
    colour: torch.Tensor
    shape: torch.Tensor
    velocity: torch.Tensor
    place: torch.Tensor
    radius: torch.Tensor

    @classmethod
    def of(cls, code: torch.Tensor, draw: Draw) -> "Scene":
        """Codes (B, CODE_LENGTH) of 0 and 1, completed by a draw: a colour that is not told stands out, a shape is a circle."""
        told = split(code)
        palette = torch.tensor(list(COLOURS.values()), device=code.device)
        ground, colour = told["ground"] @ palette, told["colour"] @ palette
        has_ground, has_colour = (told[name].sum(1, keepdim=True) > 0 for name in ("ground", "colour"))
        turns = draw.hue[:, None] + torch.tensor([0.0, 2.1, 4.2], device=code.device)
        free_ground, free_colour = 0.35 + 0.25 * torch.cos(turns), 0.7 - 0.25 * torch.cos(turns)
        grounds = torch.where(has_ground, ground, torch.where(has_colour, _against(colour), free_ground))
        colours = torch.where(has_colour, colour, torch.where(has_ground, _against(ground), free_colour))
        speed = SPEED * (told["pace"] @ torch.tensor([*PACES.values()], device=code.device) + (told["pace"].sum(1) == 0).float())
        course = told["heading"] @ torch.tensor([*HEADINGS.values()], device=code.device) * speed[:, None]
        drift = DRIFT * torch.stack((torch.cos(draw.drift), torch.sin(draw.drift)), dim=1)
        velocity = torch.where(told["heading"].sum(1, keepdim=True) > 0, course, drift)
        size = told["size"] @ torch.tensor([*SIZES.values()], device=code.device) + (told["size"].sum(1) == 0).float()
        return cls(grounds, colours, told["shape"].argmax(1), velocity, draw.place, draw.radius * size)


def split(code: torch.Tensor) -> dict[str, torch.Tensor]:
    """Codes (B, CODE_LENGTH) as one (B, n) for each of `CHOICES`."""
    return dict(zip(CHOICES, code.split([len(names) for names in CHOICES.values()], dim=1), strict=True))


def _against(colour: torch.Tensor) -> torch.Tensor:
    """Nearly white against a dark colour, nearly black against a light one."""
    light = colour @ torch.tensor([0.3, 0.59, 0.11], device=colour.device)
    return torch.where(light[:, None] < 0.5, 0.92, 0.08).expand(-1, 3)


def paint(scene: Scene, size: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Every fourth frame for `size` (height, width, latents), (B, 3, T, H, W) in -1..1, and how content moved over the four frames before.

    The latter is (B, T, h, w, 2), as `latents.ideal` wants it.
    """
    height, width, instants = size
    covered = cover(scene, size, 1)[:, None]
    ground, colour = (part[:, :, None, None, None] for part in (scene.ground, scene.colour))
    frames = torch.lerp(ground.expand(-1, -1, instants, height, width), colour.expand(-1, -1, instants, height, width), covered)
    figure = (cover(scene, size, latents.CELL)[..., None] > 0.5).float()
    moved = -4.0 * scene.velocity[:, None, None, None] * figure
    moved[:, 0] = 0
    return frames * 2 - 1, moved


def cover(scene: Scene, size: tuple[int, int, int], step: int) -> torch.Tensor:
    """How much of each point, `step` pixels apart, the figure covers: (B, T, H / step, W / step)."""
    height, width, instants = size
    device = scene.place.device

    def column(values: Any) -> torch.Tensor:
        return values[:, None, None, None]

    time = (4.0 * torch.arange(instants, device=device) - 2.0 * (instants - 1))[:, None, None]
    y = (torch.arange(height // step, device=device) * float(step) + step / 2 - height / 2)[:, None]
    x = (torch.arange(width // step, device=device) * float(step) + step / 2 - width / 2)[None]
    dx = x - column(scene.place[:, 0]) - column(scene.velocity[:, 0]) * time
    dy = y - column(scene.place[:, 1]) - column(scene.velocity[:, 1]) * time
    radius, shape = column(scene.radius), column(scene.shape)
    circle = torch.hypot(dx, dy) - radius
    square = torch.maximum(dx.abs(), dy.abs()) - 0.87 * radius
    triangle = torch.maximum(0.87 * dx.abs() - 0.5 * dy, dy) - 0.6 * radius
    upright = column(scene.velocity[:, 0].abs() >= scene.velocity[:, 1].abs())
    pitch = 2.4 * radius
    stripes = 0.25 * pitch - ((torch.where(upright, dx, dy) / pitch + 0.25) % 1 - 0.5).abs() * pitch
    edge = torch.where(shape == 0, circle, torch.where(shape == 1, square, torch.where(shape == 2, triangle, stripes)))
    return (0.5 - edge / 1.5).clamp(0, 1)
