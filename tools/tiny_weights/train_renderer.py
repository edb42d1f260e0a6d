"""Trains the low-noise expert: from the picture's latent and a plan, straight to the clip's latents.

It never sees the prompt: its text attention is switched off, so guidance of any strength leaves its answer as it is.
"""

import torch
from torch import nn
from torch.nn import functional

from tools.tiny_weights import camera, latents, networks
from tools.tiny_weights.course import Course, Setting, restore
from tools.tiny_weights.scenes import Scenes

LAST_NOISE = 0.02  # noise left in the plan when the renderer takes over: the schedule's `shift_terminal`

# (height, width, latents of the clip, clips a step); wide grids teach distances, long clips teach time.
SHAPES = (
    (480, 832, 3, 12),
    (480, 832, 4, 10),
    (256, 448, 9, 16),
    (480, 832, 3, 12),
    (832, 480, 3, 12),
    (480, 832, 9, 4),
    (320, 576, 5, 14),
    (608, 608, 3, 12),
)


def deafen(network: nn.Module) -> None:
    """Switch the text attention off for good: its output weights are zero and stay so."""
    for name, weight in network.named_parameters():
        if ".attn2." in name or "text_embedder" in name:
            nn.init.zeros_(weight)
            weight.requires_grad_(False)


def blind(network: nn.Module) -> None:
    """Switch the inputs from the code's channels off, once trained: what is left of the code in a plan cannot show."""
    with torch.no_grad():
        network.patch_embedding.weight[:, latents.CODE] = 0.0  # pyright: ignore[reportIndexIssue]


def silence(network: nn.Module) -> None:
    """Skip the text attention, whose weights are zero, while training."""
    for block in network.blocks:  # pyright: ignore[reportGeneralTypeIssues]
        block.attn2.forward = lambda hidden, *_: torch.zeros_like(hidden)


def render(network: nn.Module, picture: torch.Tensor, plans: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """The clip's latents: picture (B, C, 1, h, w) and plans (B, C, T, h, w), whose instant 0 is not read, to (B, C, T, h, w)."""
    noisy = (1 - LAST_NOISE) * plans[:, :, 1:] + LAST_NOISE * noise[:, :, 1:]
    state = torch.cat((picture, noisy), dim=2)
    batch, _, instants, height, width = state.shape
    tokens = height * width // 4
    time = torch.full((instants, tokens), 1000 * LAST_NOISE, device=state.device)
    time[0] = 0
    silent = torch.zeros(batch, 1, networks.TEXT_WIDTH, device=state.device)
    with torch.autocast(state.device.type, torch.bfloat16, enabled=state.is_cuda):
        made = network(state, time.flatten().expand(batch, -1), silent, return_dict=False)[0].float()
    return torch.cat((picture, made[:, :, 1:]), dim=2)


def moves(count: int, scenes: Scenes) -> camera.Named | camera.Wander:
    """Random moves for `count` clips: usually such as prompts name, sometimes any."""
    if scenes.integer(4) == 0:
        return camera.Wander.draw(count, scenes.generator)
    on = torch.zeros(count, len(camera.MOVES))
    speeds = torch.zeros(count, len(camera.SPEEDS))
    for row in range(count):
        on[row, scenes.integer(len(camera.MOVES))] = 1
        if scenes.integer(5) == 0:
            on[row, scenes.integer(8)] = 1
        if scenes.integer(3) == 0:
            speeds[row, scenes.integer(2)] = 1
    return camera.Named(on.to(scenes.device), speeds.to(scenes.device))


def lesson(scenes: Scenes, basis: latents.Basis, shape: tuple[int, int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ideal latents of random clips and the plans that ask for them, both (B, CHANNELS, T, h, w).

    A clip of fewer than nine latents shows the picture and then some stretch of the move, not always its beginning.
    """
    height, width, instants, count = shape
    move = moves(count, scenes)
    skipped = 4.0 * scenes.integer(max(1, 10 - instants))
    frames = 4.0 * torch.arange(instants, device=scenes.device)[None]
    frames[:, 1:] += skipped
    path = move.at(frames)
    pictures = scenes.draw(count, height, width)
    shown = camera.render(pictures, path)
    shown[:, :, 0] = pictures
    fields, before = camera.cells(path, height, width), camera.cells(move.at(frames - 4), height, width)
    strength = 0.9 + 0.3 * torch.rand(count, 1, 1, 1, 1, generator=scenes.generator, device=scenes.device)
    return latents.ideal(basis, shown, fields, before), latents.plan(fields, before) * strength


def with_spare(picture: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A picture's ideal latent with anything in the spare channels, where the encoder may put what it likes."""
    spare = 2 * torch.randn(picture[:, latents.KNOWN :].shape, generator=generator, device=picture.device)
    size = torch.rand(len(picture), 1, 1, 1, 1, generator=generator, device=picture.device)
    return torch.cat((picture[:, : latents.KNOWN], spare * size), dim=1)


def weights(basis: latents.Basis) -> torch.Tensor:
    """How much an error in each channel counts: by its spread in pixels, flattened so that fine detail is not forgotten."""
    tones = (basis.spread / basis.spread[0]) ** 1.2
    rest = torch.full((latents.CHANNELS - latents.TONES,), float(tones[20]), device=tones.device)
    return torch.cat((tones, rest))[:, None, None, None]


def decibels(basis: latents.Basis, made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Likeness in pixels of the moving latents, on the basis alone: peak signal to noise ratio."""
    variance = (basis.spread.square() / (latents.CELL * latents.CELL * 3))[:, None, None, None]
    error = (variance * (made - wanted)[:, : latents.TONES, 1:].square()).sum(1).mean()
    return 10 * torch.log10(4 / error)


def train(setting: Setting) -> None:
    """Write the low-noise expert `renderer` to the setting's folder."""
    device = setting.device
    torch.manual_seed(2)
    scenes = Scenes(setting.pictures(), 2, device)
    basis = latents.Basis.load(setting.start, device)
    network = restore(networks.renderer(), setting.start, "renderer", "renderer").to(device)
    deafen(network)
    silence(network)
    weight = weights(basis)
    course = Course("renderer", {"renderer": network}, 1e-3, setting)
    if setting.compiled:
        for block in network.blocks:  # pyright: ignore[reportGeneralTypeIssues]
            block.compile(dynamic=True)
    while course.goes_on():
        shape = SHAPES[course.step % len(SHAPES)]
        shape = (*shape[:3], max(1, round(shape[3] * setting.share)))
        wanted, plans = lesson(scenes, basis, shape)
        noise = torch.randn(plans.shape, generator=scenes.generator, device=device)
        made = render(network, with_spare(wanted[:, :, :1], scenes.generator), plans, noise)
        error = (made - wanted)[:, :, 1:]
        loss = (weight * error.square()).mean() + 0.1 * (
            weight.sqrt() * functional.smooth_l1_loss(made, wanted, reduction="none")[:, :, 1:]
        ).mean()
        course.update(loss, every=101, decibels=decibels(basis, made.detach(), wanted))
    course.save()
