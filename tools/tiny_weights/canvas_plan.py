"""The plan of a text-to-video clip: what the planner writes into a latent, and what the painter reads there.

A plan says the same in every cell, but for one thing: how far the cell is from the figure. Its channels, in order: `CODE`, what the prompt
asks for; `OPEN`, what it leaves open; `FIELD`, the distance; `MARKS` and `PLACES`, where the cell stands in the clip. The rest is empty.

What a prompt leaves open is drawn by the noise itself: its values over `DRAWN` at the clip's first corner say where the figure stands, how
large it is and so on. So the right plan is a function of noise and prompt at every noise level, and few steps are enough. Were noise and
plan drawn apart, as usual, a mean over thousands of cells would decide the plan at noise 0.99 and above, where schedules have no steps.

Rotary positions are relative, so the planner has to find out from noise alone where a cell stands. It can: at an edge there is no
neighbour. `MARKS` and `PLACES` teach it.
"""

import math

import torch

from tools.tiny_weights import latents
from tools.tiny_weights.canvas import CODE_LENGTH, Draw

PERIODS = (1024.0, 256.0)  # pixels
UNIT = 200.0  # pixels, of distances as plain numbers
RADIUS_UNIT = 80.0

CODE = slice(0, CODE_LENGTH)
OPEN = slice(CODE.stop, CODE.stop + 3)
FIELD = slice(OPEN.stop, OPEN.stop + 3 + 4 * len(PERIODS))
MARKS = slice(FIELD.stop, FIELD.stop + 6)
PLACES = slice(MARKS.stop, MARKS.stop + 2)
DRAWN = slice(latents.CHANNELS - 15, latents.CHANNELS)


def drawn(noise: torch.Tensor) -> torch.Tensor:
    """What the first noise (B, CHANNELS, T, h, w) draws: numbers (B, 5), even in -1..1."""
    corner = noise[:, DRAWN, 0, :2, :2].unflatten(1, (5, 3))  # one token, 12 values a number
    return torch.erf(corner.sum((2, 3, 4)) / 24**0.5)


def plan(code: torch.Tensor, draw: Draw, size: tuple[int, int, int]) -> torch.Tensor:
    """The plan (B, CHANNELS, T, h, w) of clips of `size` (height, width, latents)."""
    height, width, instants = size
    rows, columns, device = height // latents.CELL, width // latents.CELL, code.device
    result = torch.zeros(len(code), latents.CHANNELS, instants, rows, columns, device=device)
    constant = torch.cat((code, torch.stack((draw.radius / RADIUS_UNIT, draw.hue / 3, draw.drift / 3), dim=1)), dim=1)
    result[:, CODE.start : OPEN.stop] = constant[:, :, None, None, None]
    x = (torch.arange(columns, device=device) + 0.5) * latents.CELL - width / 2
    y = (torch.arange(rows, device=device) + 0.5) * latents.CELL - height / 2
    time = (torch.arange(instants, device=device) - (instants - 1) / 2) / 4
    dx, dy = x - draw.place[:, :1], y - draw.place[:, 1:]
    result[:, FIELD] = _field(dx[:, None, None, :], dy[:, None, :, None], time[None, :, None, None])
    for channel, (axis, index) in enumerate(((4, 0), (4, -1), (3, 0), (3, -1), (2, 0), (2, -1)), start=MARKS.start):
        near = 1 if axis == 2 else 2  # the edge's token
        start = 0 if index == 0 else result.shape[axis] - near
        result[:, channel].narrow(axis - 1, start, near).fill_(1.0)
    result[:, PLACES.start] = x / UNIT
    result[:, PLACES.start + 1] = (y / UNIT)[:, None]
    return result


def _field(dx: torch.Tensor, dy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """Distances as plain numbers and as points on circles, and the time: (B, 11, T, h, w)."""
    channels = [dx / UNIT, dy / UNIT, time]
    for period in PERIODS:
        turn = 2 * math.pi / period
        channels += [torch.cos(dx * turn), torch.sin(dx * turn), torch.cos(dy * turn), torch.sin(dy * turn)]
    return torch.stack(torch.broadcast_tensors(*channels), dim=1)
