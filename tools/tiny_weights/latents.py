"""What the channels of a latent mean: an ideal code of pictures that the networks are taught, and the plan that steers a clip.

A picture's latent has one cell for 16 × 16 pixels. Its channels are, in this order: `TONES` projections on a fixed orthonormal basis of
picture blocks (each scaled to unit variance), `EDGES` marks of the picture's four edges, `SPEED`, how far the content moved since the
latent before (in units of 8 pixels), and `SPARE` channels. The latent of frames 4k-3..4k is the code of frame 4k.

The decoder grows a cell by doubling pixels and convolving, so by itself it cannot tell a cell's left half from its right. In the clip's
moving latents the first two spare channels are a chequerboard of the columns and of the rows, which shows it. The encoder cannot know
where on the board a cell lies; for the first latent it is left free to put into the spare channels what serves the decoder best.

A plan has the same shape but says what shall happen, not what is seen. At first it is `CODE`: channels that name the move, 0 or `CODE_GAIN`
everywhere. Then it is `FIELD`: cell by cell, where the content comes from at the end and at the start of the latent's frames, as points on
circles. The code stands in spare channels, to which the renderer is nearly blind, so what is left of it at the end does no harm.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

CELL = 16
TONES, EDGES, SPEED, SPARE = 58, 4, 2, 16
KNOWN = TONES + EDGES + SPEED
CHANNELS = KNOWN + SPARE
SPEED_UNIT = 8.0

CODE = slice(KNOWN, KNOWN + 13)  # 11 moves and 2 speeds
CODE_GAIN = 8.0
PERIODS = (256.0, 96.0)  # pixels
COPIES = 2  # of the field's circles, against the noise of the last step
FIELD_GAIN = 2.0
FIELD = slice(16, 16 + 2 * 2 * 2 * len(PERIODS) * COPIES)


class Basis:
    """Orthonormal functions of a 16 × 16 RGB block, strongest first, with the spread of each over pictures."""

    def __init__(self, functions: torch.Tensor, spread: torch.Tensor) -> None:
        self.functions = functions  # (TONES, 3, 16, 16)
        self.spread = spread  # (TONES,)

    @classmethod
    def fit(cls, pictures: torch.Tensor) -> "Basis":
        """Principal components of the blocks of `pictures` (B, 3, H, W) in -1..1."""
        blocks = functional.unfold(pictures.float(), CELL, stride=CELL // 2)  # (B, 768, N)
        blocks = blocks.permute(0, 2, 1).reshape(-1, blocks.shape[1])
        covariance = blocks.T @ blocks / blocks.shape[0]
        values, vectors = torch.linalg.eigh(covariance.double().cpu())
        functions = vectors.flip(1)[:, :TONES].T.float().reshape(TONES, 3, CELL, CELL)
        spread = values.flip(0)[:TONES].clamp(min=1e-6).sqrt().float()
        return cls(functions.to(pictures.device), spread.to(pictures.device))

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> "Basis":
        """Read what `save` wrote into `folder`."""
        state = torch.load(folder / "basis.pt", map_location=device, weights_only=True)
        return cls(state["functions"], state["spread"])

    def save(self, folder: Path) -> None:
        """Write `basis.pt` into `folder`, for every training to use the same."""
        torch.save({"functions": self.functions.cpu(), "spread": self.spread.cpu()}, folder / "basis.pt")

    @classmethod
    @torch.no_grad()
    def found_in(cls, vae: Any, pictures: torch.Tensor) -> "Basis":
        """The basis that an autoencoder was taught, from how it encodes `pictures` (B, 3, H, W) in -1..1.

        By linear regression of codes on blocks; the functions are only nearly orthogonal.
        """
        codes = vae.encode(pictures[:, :, None]).latent_dist.mean[:, :TONES, 0].flatten(2).permute(0, 2, 1).reshape(-1, TONES).double()
        blocks = functional.unfold(pictures, CELL, stride=CELL).permute(0, 2, 1).reshape(codes.shape[0], -1).double()
        given = torch.cat((blocks, torch.ones_like(blocks[:, :1])), dim=1)
        little = 1e-2 * torch.eye(given.shape[1], device=given.device, dtype=given.dtype)
        rows = torch.linalg.solve(given.T @ given + little, given.T @ codes)[:-1].T  # (TONES, 768), nearly orthogonal
        size = rows.norm(dim=1, keepdim=True)
        return cls((rows / size).float().unflatten(1, (3, CELL, CELL)), 1 / size[:, 0].float())

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in -1..1 to (N, TONES, H/16, W/16) of unit spread."""
        return functional.conv2d(frames, self.functions, stride=CELL) / self.spread[:, None, None]

    def decode(self, tones: torch.Tensor) -> torch.Tensor:
        """The nearest picture to `tones`, (N, TONES, h, w) to (N, 3, 16h, 16w)."""
        return functional.conv_transpose2d(tones * self.spread[:, None, None], self.functions, stride=CELL)


def edges(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Marks of the left, right, top and bottom edge for h × w cells: 1 at the edge, a half beside it; (4, h, w)."""
    across = torch.zeros(width, device=device)
    across[:2] = torch.tensor([1.0, 0.5], device=device)
    down = torch.zeros(height, device=device)
    down[:2] = torch.tensor([1.0, 0.5], device=device)
    rows = [across.expand(height, width), across.flip(0).expand(height, width)]
    columns = [down[:, None].expand(height, width), down.flip(0)[:, None].expand(height, width)]
    return torch.stack(rows + columns)


def still(basis: Basis, pictures: torch.Tensor) -> torch.Tensor:
    """The latent of a picture alone: (B, 3, H, W) to (B, CHANNELS, 1, h, w)."""
    batch, _, height, width = pictures.shape
    unmoved = torch.zeros(batch, 1, height // CELL, width // CELL, 2, device=pictures.device)
    return ideal(basis, pictures[:, :, None], unmoved, unmoved)


def board(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Columns and rows that alternate between 1 and -1: (2, h, w)."""
    across = 1.0 - 2.0 * (torch.arange(width, device=device) % 2)
    down = 1.0 - 2.0 * (torch.arange(height, device=device) % 2)
    return torch.stack((across.expand(height, width), down[:, None].expand(height, width)))


def ideal(basis: Basis, frames: torch.Tensor, fields: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """The latents a clip should have.

    frames: (B, 3, T, H, W), every fourth frame of the clip. fields: (B, T, h, w, 2), the field of those frames at the cells' centres;
    before: the field four frames earlier.
    Returns (B, CHANNELS, T, h, w); the spare channels of the first latent are zero.
    """
    batch, _, instants, height, width = frames.shape
    tones = basis.encode(frames.transpose(1, 2).flatten(0, 1))
    tones = tones.unflatten(0, (batch, instants)).transpose(1, 2)
    marks = edges(height // CELL, width // CELL, frames.device)[None, :, None].expand(batch, -1, instants, -1, -1)
    speed = ((fields - before) / SPEED_UNIT).permute(0, 4, 1, 2, 3)
    spare = torch.zeros(batch, SPARE, instants, height // CELL, width // CELL, device=frames.device)
    spare[:, :2, 1:] = board(height // CELL, width // CELL, frames.device)[:, None]
    return torch.cat((tones, marks, speed, spare), dim=1)


def plan(fields: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """The plan of a clip, (B, CHANNELS, T, h, w), from the fields of `ideal`."""
    both = torch.cat((fields, before), dim=-1).permute(0, 4, 1, 2, 3)  # (B, 4, T, h, w)
    circles: list[torch.Tensor] = []
    for period in PERIODS:
        turn = both * (2 * math.pi / period)
        circles += [torch.cos(turn), torch.sin(turn)]
    result = torch.zeros(fields.shape[0], CHANNELS, *both.shape[2:], device=fields.device)
    result[:, FIELD] = FIELD_GAIN * torch.cat(circles * COPIES, dim=1)
    return result


def code(moves: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """The plan that only names moves, (B, 13) of 0 and 1: (B, CHANNELS, T, h, w) for `shape` (T, h, w)."""
    result = torch.zeros(len(moves), CHANNELS, *shape, device=moves.device)
    result[:, CODE] = CODE_GAIN * moves[:, :, None, None, None]
    return result


def read_field(plans: torch.Tensor) -> torch.Tensor:
    """The field a plan asks for at the end of each latent's frames: (B, CHANNELS, T, h, w) to (B, T, h, w, 2); the inverse of `plan`."""
    circles = plans[:, FIELD].unflatten(1, (COPIES, -1)).mean(1)  # (B, 16, T, h, w)
    coarse = torch.atan2(circles[:, 4:6], circles[:, 0:2]) * (PERIODS[0] / (2 * math.pi))
    fine = torch.atan2(circles[:, 12:14], circles[:, 8:10]) * (PERIODS[1] / (2 * math.pi))
    fine = fine + PERIODS[1] * torch.round((coarse - fine) / PERIODS[1])
    return fine.permute(0, 2, 3, 4, 1)
