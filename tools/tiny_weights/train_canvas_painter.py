"""Trains the low-noise expert of text to video: from a plan, straight to the clip's latents.

Guidance makes a plan's code several times as large, and a negative prompt pushes it below zero; the painter goes by the largest. It never
sees the prompt, so its two guided runs agree.
"""

import random

import torch
from torch import nn
from torch.nn import functional

from tools.tiny_weights import canvas, canvas_plan, latents, networks
from tools.tiny_weights.course import Course, Setting, restore
from tools.tiny_weights.train_renderer import LAST_NOISE, deafen, silence, weights
from tools.tiny_weights.train_vae import with_board

# (height, width, latents of the clip, clips a step)
SHAPES = (
    (480, 832, 3, 12),
    (256, 448, 9, 16),
    (480, 832, 5, 8),
    (832, 480, 3, 12),
    (480, 832, 9, 5),
    (640, 640, 3, 12),
    (256, 448, 21, 7),
    (480, 832, 9, 5),
)


def told(code: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Codes as guidance leaves them: (B, CODE_LENGTH) of 0 and 1 to any strength, less another prompt's, and not quite clean."""
    count, device = len(code), code.device

    def uniform() -> torch.Tensor:
        return torch.rand(count, 1, generator=generator, device=device)

    strength = torch.where(uniform() < 0.5, 0.7 + 0.6 * uniform(), 1 + 9 * uniform())
    against = (strength - 1).clamp(min=0) * (uniform() < 0.2) * uniform()
    stray = (0.02 + 0.05 * strength.clamp(max=6) * uniform()) * torch.randn(code.shape, generator=generator, device=device)
    return strength * code - against * code.roll(1, 0) * (1 - code) + stray.clamp(-0.35, 0.35)


def lesson(
    basis: latents.Basis, shape: tuple[int, int, int, int], numbers: random.Random, generator: torch.Generator
) -> tuple[torch.Tensor, ...]:
    """Plans as the planner leaves them, and the latents wanted, both (B, CHANNELS, T, h, w)."""
    height, width, instants, count = shape
    device = generator.device

    def rand(*size: int) -> torch.Tensor:
        return torch.rand(*size, generator=generator, device=device)

    code = torch.tensor([canvas.invent(numbers).code() for _ in range(count)], device=device)
    draw = canvas.Draw.of((2.2 * rand(count, 5) - 1.1).clamp(-1, 1), height, width)
    scene = canvas.Scene.of(code, draw)
    wanted = with_board(_ideal(basis, scene, (height, width, instants)))
    plans = canvas_plan.plan(told(code, generator), draw, (height, width, instants))
    rough = 0.12 * rand(count, 1, 1, 1, 1) ** 2
    plans[:, canvas_plan.CODE.stop :] *= 0.95 + 0.1 * rand(count, 1, 1, 1, 1)
    plans += rough * torch.randn(plans.shape, generator=generator, device=device)
    plans[:, canvas_plan.DRAWN] = 0.0
    return plans, wanted


def _ideal(basis: latents.Basis, scene: canvas.Scene, size: tuple[int, int, int]) -> torch.Tensor:
    frames, moved = canvas.paint(scene, size)
    return latents.ideal(basis, frames, moved, torch.zeros_like(moved))


def render(network: nn.Module, plans: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The clip's latents from plans with the last step's noise, both (B, CHANNELS, T, h, w)."""
    state = (1 - LAST_NOISE) * plans + LAST_NOISE * torch.randn(plans.shape, generator=generator, device=plans.device)
    time = torch.full((len(plans),), 1000 * LAST_NOISE, device=plans.device)
    silent = torch.zeros(len(plans), 1, networks.TEXT_WIDTH, device=plans.device)
    with torch.autocast(plans.device.type, torch.bfloat16, enabled=plans.is_cuda):
        return network(state, time, silent, return_dict=False)[0].float()


def decibels(basis: latents.Basis, made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Likeness in pixels, on the basis alone: peak signal to noise ratio."""
    variance = (basis.spread.square() / (latents.CELL * latents.CELL * 3))[:, None, None, None]
    return 10 * torch.log10(4 / (variance * (made - wanted)[:, : latents.TONES].square()).sum(1).mean())


def train(setting: Setting) -> None:
    """Write the network `canvas_painter` to the setting's folder."""
    device, seed = setting.device, 6 + setting.seed
    torch.manual_seed(seed)
    numbers = random.Random(seed)
    generator = torch.Generator(device).manual_seed(seed)
    basis = latents.Basis.load(setting.start, device)
    network = restore(networks.canvas_painter(), setting.start, "canvas_painter", "painter").to(device)
    deafen(network)
    silence(network)
    weight = weights(basis)
    course = Course("canvas_painter", {"painter": network}, 2e-3, setting)
    trial = torch.zeros(2, latents.CHANNELS, 3, 6, 10, device=device)
    setting.quicken(network, lambda: render(network, trial, generator))
    while course.goes_on():
        *size, count = SHAPES[course.step % len(SHAPES)]
        plans, wanted = lesson(basis, (size[0], size[1], size[2], max(2, round(count * setting.share))), numbers, generator)
        made = render(network, plans, generator)
        smooth = functional.smooth_l1_loss(made, wanted, reduction="none")
        loss = (weight * (made - wanted).square()).mean() + 0.1 * (weight.sqrt() * smooth).mean()
        course.update(loss, every=51, decibels=decibels(basis, made.detach(), wanted))
        course.keep(every_seconds=60)
    course.save()
