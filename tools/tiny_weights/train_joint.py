"""Trains renderer and decoder together, on what is seen in the end: the frames.

The encoder stays as it is. Every other step is a lesson in latents alone, on full-sized pictures, so that the renderer keeps its reach.
"""

import torch

from tools.tiny_weights import camera, latents, networks, train_renderer
from tools.tiny_weights.convolution import quicken
from tools.tiny_weights.course import Course, Setting, restore
from tools.tiny_weights.scenes import Scenes
from tools.tiny_weights.train_vae import Coder, frames_first, likeness, with_board

# (height, width, latents of the clip, clips a step)
SHAPES = ((192, 256, 5, 10), (256, 192, 5, 10), (160, 224, 9, 6))
TAUGHT = latents.KNOWN + 2  # channels held to the ideal code; what else helps the decoder is for the two to find out


def train(setting: Setting) -> None:
    """Write the networks `vae` and `renderer`, as `joint`, to the setting's folder."""
    device = setting.device
    torch.manual_seed(4)
    scenes = Scenes(setting.pictures(), 4, device)
    basis = latents.Basis.load(setting.start, device)
    vae = restore(networks.autoencoder(), setting.start, "vae", "vae").to(device)
    renderer = restore(networks.renderer(), setting.start, "renderer", "renderer").to(device)
    train_renderer.deafen(renderer)
    train_renderer.silence(renderer)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    if device.type == "cuda":
        quicken(vae)
    coder, weight = Coder(vae, device), train_renderer.weights(basis)[:TAUGHT]
    course = Course("joint", {"vae": vae, "renderer": renderer}, 6e-4, setting)
    if setting.compiled:
        for block in renderer.blocks:
            block.compile(dynamic=True)
    while course.goes_on():
        seen = course.step % 2 == 0
        shapes = SHAPES if seen else train_renderer.SHAPES
        *size, count = shapes[course.step // 2 % len(shapes)]
        shape = (*size, max(1, round(count * setting.share)))
        frames, wanted, plans, begun = lesson(scenes, basis, shape, seen)
        with torch.no_grad():
            picture = coder.encode(frames[:, :, :1])
        noise = torch.randn(plans.shape, generator=scenes.generator, device=device)
        made = train_renderer.render(renderer, picture, plans, noise)
        loss = (weight * (made - wanted)[:, :TAUGHT, 1:].square()).mean()
        facts = {"decibels": train_renderer.decibels(basis, made.detach(), wanted)}
        if seen:
            if scenes.integer(4) == 0:  # a first latent from a transformer instead of the encoder
                made = torch.cat((with_board(wanted[:, :, :1]), made[:, :, 1:]), dim=2)
            shown = coder.decode(made)
            kept = [0, *range(1 if begun else 5, shown.shape[2])]
            loss = loss + likeness(frames_first(shown[:, :, kept]), frames_first(frames[:, :, kept]))
            error = (shown.detach() - frames)[:, :, kept[1:]].square().mean()
            facts["frame_decibels"] = 10 * torch.log10(4 / error)
        course.update(loss, every=101, **facts)
    course.save()


def lesson(
    scenes: Scenes, basis: latents.Basis, shape: tuple[int, int, int, int], all_frames: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, bool]:
    """Clips, their ideal latents, their plans, and whether they show the move from its start.

    The clips are (B, 3, 4T - 3, H, W), or just every fourth frame of that.
    """
    height, width, instants, count = shape
    move = train_renderer.moves(count, scenes)
    skipped = 4.0 * scenes.integer(max(1, 10 - instants))
    step = 1 if all_frames else 4
    times = torch.arange(0, 4 * instants - 3, step, device=scenes.device)[None] * 1.0
    times = torch.where(times > 0, times + skipped, times)
    pictures = scenes.draw(count, height, width)
    frames = camera.render(pictures, move.at(times))
    frames[:, :, 0] = pictures
    ends = times[:, :: 4 // step]
    fields, before = camera.cells(move.at(ends), height, width), camera.cells(move.at(ends - 4), height, width)
    strength = 0.95 + 0.2 * torch.rand(count, 1, 1, 1, 1, generator=scenes.generator, device=scenes.device)
    wanted = latents.ideal(basis, frames[:, :, :: 4 // step], fields, before)
    return frames, wanted, latents.plan(fields, before) * strength, skipped == 0
