"""Trains the video autoencoder: pictures and moving clips in, the same out, with the latents of `latents.ideal` in between."""

import torch
from torch import nn
from torch.nn import functional

from tools.tiny_weights import camera, latents, networks
from tools.tiny_weights.convolution import quicken
from tools.tiny_weights.course import Course, Setting, restore
from tools.tiny_weights.scenes import Scenes
from tools.tiny_weights.train_renderer import moves


def likeness(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How far frames (..., H, W) are from the wanted ones: absolute differences of the pixels and of their slopes at two scales."""
    loss = functional.l1_loss(made, wanted)
    made, wanted = made.flatten(0, -4), wanted.flatten(0, -4)
    for weight in (1.0, 0.5):
        for dim in (-1, -2):
            loss = loss + weight * functional.l1_loss(made.diff(dim=dim), wanted.diff(dim=dim))
        made, wanted = functional.avg_pool2d(made, 2), functional.avg_pool2d(wanted, 2)
    return loss


def frames_first(clips: torch.Tensor) -> torch.Tensor:
    """(B, C, T, H, W) to (B, T, C, H, W)."""
    return clips.transpose(1, 2)


class Coder:
    """The autoencoder in training: latents without their unused spread, mixed precision on a GPU."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.network = network
        self.mixed = device.type == "cuda"

    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) in -1..1 to (B, CHANNELS, (T - 1) / 4 + 1, H/16, W/16)."""
        with torch.autocast(clips.device.type, torch.bfloat16, enabled=self.mixed):
            return self.network.encode(clips).latent_dist.mean.float()

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """The inverse, clamped to -1..1."""
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=self.mixed):
            return self.network.decode(codes).sample.float()


def clip(scenes: Scenes, basis: latents.Basis, count: int, side: int, chunks: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Moving clips and their ideal latents: (B, 3, 4 chunks + 1, side, side) and (B, CHANNELS, chunks + 1, h, w)."""
    frames = torch.arange(4 * chunks + 1, device=scenes.device)[None] * 1.0
    move = moves(count, scenes)
    pictures = scenes.draw(count, side, side)
    clips = camera.render(pictures, move.at(frames))
    clips[:, :, 0] = pictures
    fields, before = camera.cells(move.at(frames[:, ::4]), side, side), camera.cells(move.at(frames[:, ::4] - 4), side, side)
    return clips, latents.ideal(basis, clips[:, :, ::4], fields, before)


def disturbed(codes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Codes with a little noise, of another strength for each clip, so that the decoder forgives what the renderer gets wrong."""
    strength = 0.25 * torch.rand(codes.shape[0], 1, 1, 1, 1, generator=generator, device=codes.device) ** 3
    return codes + strength * torch.randn(codes.shape, generator=generator, device=codes.device)


def weights(basis: latents.Basis) -> torch.Tensor:
    """How much the encoder is held to each known channel of the ideal code."""
    tones = (basis.spread / basis.spread[0]).sqrt()
    return torch.cat((tones, torch.ones(latents.EDGES + latents.SPEED, device=tones.device)))[:, None, None, None]


def with_board(codes: torch.Tensor) -> torch.Tensor:
    """Codes with the chequerboard in all latents, as if they were in mid-clip."""
    spare = torch.zeros_like(codes[:, latents.KNOWN :])
    spare[:, :2] = latents.board(*codes.shape[-2:], codes.device)[:, None]
    return torch.cat((codes[:, : latents.KNOWN], spare), dim=1)


def train(setting: Setting) -> None:
    """Write the autoencoder `vae` to the setting's folder."""
    device = setting.device
    torch.manual_seed(1)
    torch.backends.cudnn.benchmark = True
    scenes = Scenes(setting.pictures(), 1, device)
    basis = latents.Basis.load(setting.start, device)
    network = restore(networks.autoencoder(), setting.start, "vae", "vae").to(device)
    if device.type == "cuda":
        quicken(network)
    coder, weight = Coder(network, device), weights(basis)
    count = max(2, round(36 * setting.share))
    course = Course("vae", {"vae": network}, 2e-3, setting)
    while course.goes_on():
        if course.step % 2 == 0:  # pictures: two thirds as first latents, the others as if in mid-clip
            wanted = scenes.draw(count, 192, 192)[:, :, None]
            codes = latents.still(basis, wanted[:, :, 0])
            found = coder.encode(wanted)
            used = torch.cat((found[: -(count // 3)], with_board(codes[-(count // 3) :])))
            kind = "picture"
        else:  # clips: from ideal latents, some from the encoder's own
            wanted, codes = clip(scenes, basis, max(1, count // 3), 128, chunks=3)
            found = coder.encode(wanted)
            used = found if scenes.integer(5) == 0 else torch.cat((found[:, :, :1], codes[:, :, 1:]), dim=2)
            kind = "clip"
        taught = (weight * (found - codes)[:, : latents.KNOWN].square()).mean()
        made = coder.decode(disturbed(used, scenes.generator))
        loss = likeness(frames_first(made), frames_first(wanted)) + 0.3 * taught
        error = (made.detach() - wanted).square().mean()
        course.update(loss, every=101, **{f"{kind}_decibels": 10 * torch.log10(4 / error), "taught": taught.detach()})
    course.save()
