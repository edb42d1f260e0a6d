"""Trains the high-noise expert: from the prompt and the picture's edges to the plan of the clip.

While the noise is strong it answers with the move's code, and nothing for the empty prompt, so guidance of strength w makes the code w
times as large. Later it reads from the state which move was chosen, whatever the code's size, and answers with the move's field; the
prompt no longer counts. So guidance chooses the move but cannot spoil it.
"""

import random

import torch
from torch import nn

from tools.tiny_weights import camera, latents, networks
from tools.tiny_weights.course import Course, Setting, restore
from tools.tiny_weights.scenes import Scenes
from tools.tiny_weights.train_renderer import with_spare
from tools.tiny_weights.words import Reader, Sentence, negative, sentence

CHOOSING = 0.9  # noise above which the prompt counts

# (height, width, latents of the clip, clips a step)
SHAPES = (
    (480, 832, 9, 8),
    (480, 832, 3, 16),
    (480, 832, 5, 12),
    (832, 480, 5, 12),
    (480, 832, 9, 8),
    (608, 608, 4, 16),
    (256, 448, 9, 16),
    (704, 832, 3, 8),
    (256, 416, 9, 16),
    (480, 832, 13, 6),
)
SMALL = (128, 192, 3, 96)  # many sentences, for choosing


def code_of(sentences: list[Sentence], device: torch.device) -> torch.Tensor:
    """(B, CODE) of 0 and 1."""
    return torch.tensor([[*line.moves, *line.speeds] for line in sentences], device=device, dtype=torch.float32)


def plans_of(code: torch.Tensor, height: int, width: int, instants: int) -> torch.Tensor:
    """The plan each code (B, 13) stands for: (B, CHANNELS, T, h, w)."""
    frames = torch.arange(instants, device=code.device)[None] * 4.0
    move = camera.Named(code[:, : len(camera.MOVES)], code[:, len(camera.MOVES) :])
    return latents.plan(camera.cells(move.at(frames), height, width), camera.cells(move.at(frames - 4), height, width))


def answer(network: nn.Module, state: torch.Tensor, noise: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The planner's plan: state (B, C, T, h, w) with the picture at instant 0, noise level (B,) of the other instants."""
    batch, _, instants, height, width = state.shape
    time = (1000 * noise)[:, None, None].expand(batch, instants, height * width // 4).clone().round()
    time[:, 0] = 0
    with torch.autocast(state.device.type, torch.bfloat16, enabled=state.is_cuda):
        return network(state, time.flatten(1), text, return_dict=False)[0].float()


def train(setting: Setting) -> None:
    """Write the high-noise expert `planner` to the setting's folder."""
    device = setting.device
    torch.manual_seed(3)
    numbers = random.Random(3)
    scenes = Scenes(setting.pictures(), 3, device)
    basis = latents.Basis.load(setting.start, device)
    reader = Reader(device)
    network = restore(networks.planner(), setting.start, "planner", "planner").to(device)
    course = Course("planner", {"planner": network}, 2e-3, setting)
    while course.goes_on():
        choosing = course.step % 3 == 0
        shape = SMALL if choosing and course.step % 4 else SHAPES[course.step % len(SHAPES)]
        height, width, instants, count = *shape[:3], max(1, round(shape[3] * setting.share))
        lines = [sentence(numbers) for _ in range(count)]
        code = code_of(lines, device)
        picture = with_spare(latents.still(basis, scenes.draw(count, height, width)), scenes.generator)
        if choosing:
            noise, state, wanted = _choosing(code, (height, width, instants), scenes.generator)
            texts = [line.text for line in lines]
        else:
            code[code.sum(1) == 0, len(camera.MOVES) - 1] = 1.0  # an empty prompt still gets the drift
            noise, state, wanted = _refining(code, (height, width, instants), scenes.generator)
            texts = [numbers.choice((line.text, "", negative(numbers), sentence(numbers).text)) for line in lines]
        state[:, :, :1] = picture
        made = answer(network, state, noise, reader.read(texts))
        error = (made - wanted)[:, :, 1:].square()
        loss = error[:, latents.CODE].mean() / latents.CODE_GAIN + 4 * error[:, latents.FIELD].mean() + error.mean()
        facts = {"code_error": error[:, latents.CODE].mean().sqrt()}
        if not choosing:
            gap = (latents.read_field(made.detach()) - latents.read_field(wanted))[:, 1:]
            facts["field_error_px"] = gap.square().sum(-1).mean().sqrt()
        course.update(loss, every=100, **facts)
    course.save()


def _choosing(
    code: torch.Tensor, size: tuple[int, int, int], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Nearly all noise, with a little of the code at any strength; wanted is the code alone."""
    height, width, instants = size
    count, device = len(code), code.device
    wanted = latents.code(code, (instants, height // latents.CELL, width // latents.CELL))
    noise = CHOOSING + (1 - CHOOSING) * torch.rand(count, generator=generator, device=device) ** 0.5
    level = noise[:, None, None, None, None]
    seen = wanted * 8 * torch.rand(count, 1, 1, 1, 1, generator=generator, device=device)
    return noise, (1 - level) * seen + level * torch.randn(wanted.shape, generator=generator, device=device), wanted


def _refining(
    code: torch.Tensor, size: tuple[int, int, int], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Less noise, in it what is left of the code and what there is of the field; wanted is the field.

    Guidance may have over-driven the code, or pushed it away from another one. With many steps the code fades as the field grows; with
    few it is all there is.
    """
    height, width, instants = size
    count, device = len(code), code.device

    def uniform() -> torch.Tensor:
        return torch.rand(count, 1, generator=generator, device=device)

    wanted = plans_of(code, height, width, instants)
    drive = torch.where(uniform() < 0.5, 1.0, 1 + 8 * uniform())
    drift = torch.zeros_like(code)
    drift[:, len(camera.MOVES) - 1] = 1.0  # what a negative prompt without camera words says
    other = torch.where(uniform() < 0.5, drift, code[torch.randperm(count, generator=generator, device=device)]) * (uniform() < 0.6)
    pushed = drive * code - (drive - 1) * other
    noise = 0.02 + (CHOOSING - 0.02) * uniform()
    faded = 0.1 * (noise / CHOOSING) / (1 - noise) * (0.5 + uniform())
    left = torch.where(uniform() < 0.5, faded, torch.where(uniform() < 0.5, 1.0, uniform()))[:, :, None, None, None]
    seen = (
        latents.code(pushed, wanted.shape[2:]) * left + wanted * (1 - left).clamp(min=0) * (0.9 + 0.2 * uniform())[:, :, None, None, None]
    )
    level = noise[:, :, None, None, None]
    return noise[:, 0], (1 - level) * seen + level * torch.randn(wanted.shape, generator=generator, device=device), wanted
