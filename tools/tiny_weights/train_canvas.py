"""Trains the small text-to-video transformer: from noise and a prompt to the latents of `canvas`.

Guidance drives the clip's contrast up while the noise is strong. So the network is shown over-driven clips at lower noise and asked for the
right ones, and there the prompt is often missing: the last steps forgive what guidance of any usual strength did.
"""

import random

import torch
from torch import nn

from tools.tiny_weights import canvas, latents, networks
from tools.tiny_weights.course import Course, Setting, restore
from tools.tiny_weights.train_renderer import weights
from tools.tiny_weights.train_vae import with_board
from tools.tiny_weights.words import Reader

# (height, width, latents of the clip, clips a step)
SHAPES = ((480, 832, 9, 8), (480, 832, 3, 20), (256, 448, 9, 20), (480, 832, 5, 12), (832, 480, 5, 12), (480, 832, 9, 8))
LOUD = 0.9  # noise below which over-driven clips are shown


def answer(network: nn.Module, state: torch.Tensor, noise: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The clean latents the network sees in `state` (B, C, T, h, w) at noise (B,)."""
    with torch.autocast(state.device.type, torch.bfloat16, enabled=state.is_cuda):
        return network(state, (1000 * noise).round(), text, return_dict=False)[0].float()


def train(setting: Setting) -> None:
    """Write the network `canvas` to the setting's folder."""
    device = setting.device
    torch.manual_seed(5)
    numbers = random.Random(5)
    generator = torch.Generator(device).manual_seed(5)
    basis = latents.Basis.load(setting.start, device)
    reader = Reader(device)
    network = restore(networks.canvas(), setting.start, "canvas", "canvas").to(device)
    weight = weights(basis)
    course = Course("canvas", {"canvas": network}, 2e-3, setting)
    while course.goes_on():
        *size, count = SHAPES[course.step % len(SHAPES)]
        clips = [canvas.invent(numbers) for _ in range(max(1, round(count * setting.share)))]
        frames, moved = canvas.paint(clips, (size[0], size[1], size[2]), generator)
        wanted = with_board(latents.ideal(basis, frames, moved, torch.zeros_like(moved)))
        rolls = torch.rand(4, len(clips), generator=generator, device=device)
        noise = 5 * rolls[0] / (1 + 4 * rolls[0])
        drive = torch.where((rolls[1] < 0.5) & (noise < LOUD), 1 + 6 * rolls[2], 1.0)[:, None, None, None, None]
        level = noise[:, None, None, None, None]
        state = (1 - level) * drive * wanted + level * torch.randn(wanted.shape, generator=generator, device=device)
        keep = [roll > (0.08 if high > LOUD else 0.5) for roll, high in zip(rolls[3].tolist(), noise.tolist(), strict=True)]
        text = reader.read([clip.text if kept else "" for clip, kept in zip(clips, keep, strict=True)])
        error = (weight * (answer(network, state, noise, text) - wanted).square()).mean((1, 2, 3, 4))
        course.update((error / (0.1 + noise)).mean(), every=100, high=error[noise > LOUD].mean(), low=error[noise < 0.5].mean())
    course.save()
