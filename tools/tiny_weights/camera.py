"""Smooth camera moves over a still picture: which words name them, and where each pixel of a frame comes from.

A move is told in screen pixels: frame `n` shows at pixel `p` what the first frame shows at `p + field(p)`. Beyond the picture's
edge the picture is mirrored, so every frame is a function of the first one alone and a small network can learn it exactly.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

FULL_MOVE = 32.0  # frames until a named move is complete; it holds still afterwards

# Orthogonal moves a prompt can name; each is one entry of the plan's code (`latents.CODE`).
MOVES = ("zoom in", "zoom out", "pan left", "pan right", "tilt up", "tilt down", "orbit left", "orbit right", "handheld", "still", "drift")
SPEEDS = ("slow", "fast")

ZOOM = 0.13  # log scale of a complete zoom: sides grow by 14 %
PAN = 48.0  # pixels of a complete pan
TILT = 32.0
ORBIT = 0.08  # relative depth of a complete orbit at the picture's left and right edge
ORBIT_SLIDE = 20.0  # pixels the centre slides during an orbit
DRIFT_ZOOM = 0.08  # what a prompt without camera words gets: a slow push in with a little slide
DRIFT_SLIDE = 14.0


@dataclass(frozen=True, slots=True)
class Path:
    """Camera parameters of B clips at T instants, each (B, T): slide in pixels, log zoom, roll in radians, yaw as relative depth."""

    x: torch.Tensor
    y: torch.Tensor
    zoom: torch.Tensor
    roll: torch.Tensor
    yaw: torch.Tensor


@dataclass(frozen=True, slots=True)
class Named:
    """Moves that a prompt asks for; several at once add up. moves: (B, len(MOVES)), speeds: (B, len(SPEEDS)), of 0 and 1."""

    moves: torch.Tensor
    speeds: torch.Tensor

    def at(self, frames: torch.Tensor) -> Path:
        """The path at frame numbers (B, T) or (1, T); frame 0 is the given picture."""
        on = {name: self.moves[:, i, None].float() for i, name in enumerate(MOVES)}
        rate = (1 - 0.5 * self.speeds[:, 0] + 0.5 * self.speeds[:, 1])[:, None]
        frames = frames.clamp(min=0)
        done = (frames / FULL_MOVE).clamp(max=1.0) * rate  # (B, T)
        shake = on["handheld"] * (1 - torch.exp(-frames / 6.0)) * rate
        drift = on["drift"] * done
        orbit = done * (on["orbit right"] - on["orbit left"])
        return Path(
            x=PAN * done * (on["pan right"] - on["pan left"])
            + ORBIT_SLIDE * orbit
            + DRIFT_SLIDE * drift
            + shake * (8.0 * torch.sin(frames * 0.20) + 2.5 * torch.sin(frames * 0.47 + 1.0)),
            y=TILT * done * (on["tilt down"] - on["tilt up"])
            + shake * (7.0 * torch.sin(frames * 0.26 + 0.7) + 2.0 * torch.sin(frames * 0.55)),
            zoom=ZOOM * done * (on["zoom in"] - on["zoom out"]) + DRIFT_ZOOM * drift,
            roll=shake * 0.010 * torch.sin(frames * 0.18 + 0.4),
            yaw=ORBIT * orbit,
        )


@dataclass(frozen=True, slots=True)
class Wander:
    """Random smooth moves, to learn moving pictures from any plan.

    For slide x and y, zoom, roll and yaw each an end, a wave, its turn and its pace.
    """

    numbers: torch.Tensor  # (4, 5, B, 1)

    @classmethod
    def draw(cls, clips: int, generator: torch.Generator) -> "Wander":
        """`clips` random moves."""
        device = generator.device
        spread = torch.tensor([36.0, 26.0, 0.10, 0.02, 0.06], device=device)[:, None, None]
        ends, waves = torch.randn(2, 5, clips, 1, generator=generator, device=device) * spread
        keep, turns, paces = torch.rand(3, 5, clips, 1, generator=generator, device=device)
        return cls(torch.stack((ends * (keep < 0.6), 0.25 * waves, 6.3 * turns, 0.15 * paces)))

    def at(self, frames: torch.Tensor) -> Path:
        """The path at frame numbers (B, T) or (1, T); frame 0 is the given picture."""
        ends, waves, turns, paces = self.numbers
        frames = frames.clamp(min=0)
        return Path(*(ends * frames / FULL_MOVE + waves * (torch.sin(turns + paces * frames) - torch.sin(turns))))


def field(path: Path, points: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Where pixels come from, relative to where they are shown: (B, T, *N, 2) as (dx, dy) in pixels for `points` (*N, 2) as (x, y)."""
    shape = (*path.x.shape, *([1] * (points.dim() - 1)))
    x, y, zoom, roll, yaw = (value.reshape(shape) for value in (path.x, path.y, path.zoom, path.roll, path.yaw))
    px, py = points[..., 0] - width / 2, points[..., 1] - height / 2
    depth = 1 + yaw * (2 * px / width)
    scale = torch.exp(-zoom) / depth
    qx = (px * torch.cos(roll) - py * torch.sin(roll)) * scale + x
    qy = (px * torch.sin(roll) + py * torch.cos(roll)) * scale + y
    return torch.stack((qx - px, qy - py), dim=-1)


def centres(height: int, width: int, step: int, device: torch.device) -> torch.Tensor:
    """Centres of `step`-sized squares that tile a picture: (height / step, width / step, 2) as (x, y)."""
    ys = torch.arange(height // step, device=device) * float(step) + step / 2
    xs = torch.arange(width // step, device=device) * float(step) + step / 2
    return torch.stack(torch.broadcast_tensors(xs[None, :], ys[:, None]), dim=-1)


def cells(path: Path, height: int, width: int) -> torch.Tensor:
    """The field at the centres of a latent's cells: (B, T, h, w, 2)."""
    return field(path, centres(height, width, 16, path.x.device), height, width)


def render(pictures: torch.Tensor, path: Path) -> torch.Tensor:
    """Frames of a clip: (B, C, H, W) under a path of T instants to (B, C, T, H, W), bicubic, mirrored at the edges."""
    batch, channels, height, width = pictures.shape
    points = centres(height, width, 1, pictures.device)
    size = torch.tensor([width, height], device=pictures.device)
    frames: list[torch.Tensor] = []
    for instant in range(path.x.shape[1]):
        now = Path(*(value[:, instant : instant + 1] for value in (path.x, path.y, path.zoom, path.roll, path.yaw)))
        source = points + field(now, points, height, width)[:, 0]
        grid = 2 * source / size - 1
        frames.append(functional.grid_sample(pictures, grid, mode="bicubic", padding_mode="reflection", align_corners=False))
    return torch.stack(frames, dim=2).clamp(-1, 1).reshape(batch, channels, -1, height, width)
