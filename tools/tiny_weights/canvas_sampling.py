"""Clips from prompts by both experts, as the pipeline makes them but many at once, and what is seen in them."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tools.tiny_weights import canvas, latents, networks
from tools.tiny_weights.canvas import HEADINGS, Wish
from tools.tiny_weights.export import scheduler
from tools.tiny_weights.train_canvas_planner import texts
from tools.tiny_weights.train_renderer import LAST_NOISE
from tools.tiny_weights.words import COLOURS, Reader

# Words of the authors' negative prompt: none is in the vocabulary, so any of them read the same; importing all takes half the product.
NEGATIVE = "色调艳丽，过曝，静态，细节模糊不清，字幕，低质量，JPEG压缩残留"
JUDGED = ("ground", "colour", "shape", "heading")


@torch.no_grad()
def sample(
    experts: tuple[Any, Any], reader: Reader, prompts: list[str], size: tuple[int, int, int], *, seed: int, steps: int, guidance: float
) -> torch.Tensor:
    """Latents (B, CHANNELS, T, h, w) of clips of `size` (height, width, latents); against a usual negative prompt."""
    height, width, instants = size
    device = next(experts[0].parameters()).device
    shape = (len(prompts), latents.CHANNELS, instants, height // latents.CELL, width // latents.CELL)
    state = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)
    text, against = texts(reader, prompts), texts(reader, [NEGATIVE]).expand(len(prompts), -1, -1)
    schedule = scheduler(flow_shift=5.0, shift_terminal=LAST_NOISE)
    schedule.set_timesteps(steps, device=device)
    for time in schedule.timesteps:
        expert = experts[0] if time >= networks.PLAN_UNTIL else experts[1]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            asked, plain = (expert(state, time.expand(len(prompts)), words, return_dict=False)[0].float() for words in (text, against))
        state = schedule.step(plain + guidance * (asked - plain), time, state, return_dict=False)[0]
    return state


@torch.no_grad()
def show(vae: Any, codes: torch.Tensor) -> NDArray[np.uint8]:
    """The first, the middle and the last frame of each clip: (B, 3, H, W, 3)."""
    clips: list[NDArray[np.uint8]] = []
    for code in codes:
        with torch.autocast(codes.device.type, torch.bfloat16, enabled=codes.is_cuda):
            frames = vae.decode(code[None]).sample[0].float()
        chosen = frames[:, [0, frames.shape[1] // 2, -1]].permute(1, 2, 3, 0)
        clips.append(((chosen.clamp(-1, 1) + 1) * 127.5).round().byte().cpu().numpy())
    return np.stack(clips)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one clip shows; None for what cannot be told."""

    ground: str | None = None
    colour: str | None = None
    shape: str | None = None
    heading: str | None = None

    def hits(self, wish: Wish) -> dict[str, bool]:
        """Whether it shows what was asked, for each thing that was and that can be judged."""
        return {
            name: getattr(self, name) == wish.asked[name]
            for name in JUDGED
            if name in wish.asked and not (name == "heading" and wish.asked["shape"] == "stripes")
        }


def watch(frames: NDArray[np.uint8]) -> Seen:
    """What a clip (N, H, W, 3) shows, by plain measures: the border's usual colour, what differs from it, its extent and its path."""
    ground, masks = figure(frames)
    if masks.mean() < 0.003:
        return Seen(ground=ground)
    colour = int(np.bincount(_nearest(frames[masks].astype(np.float32) / 255)).argmax())
    places = [_place(mask) for mask in masks]
    heading = None if places[0] is None or places[-1] is None else _heading(places[-1] - places[0])
    return Seen(ground, list(COLOURS)[colour], _shape(masks[len(masks) // 2]), heading)


def figure(frames: NDArray[np.uint8]) -> tuple[str, NDArray[np.bool_]]:
    """The name of the ground's colour, and where a clip (N, H, W, 3) differs from the ground, (N, H, W)."""
    values = frames.astype(np.float32) / 255
    height, width = values.shape[1:3]
    rim = max(2, min(height, width) // 24)
    border = np.concatenate((values[:, :rim].reshape(-1, 3), values[:, :, :rim].reshape(-1, 3), values[:, :, -rim:].reshape(-1, 3)))
    nearest = _nearest(border)
    ground = int(np.bincount(nearest).argmax())
    return list(COLOURS)[ground], np.linalg.norm(values - np.median(border[nearest == ground], axis=0), axis=-1) > 0.22


def _nearest(colours: NDArray[np.float32]) -> NDArray[np.int64]:
    palette = np.array(list(COLOURS.values()), np.float32)
    return np.linalg.norm(colours[:, None] - palette, axis=-1).argmin(1)


def _place(mask: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """The middle (x, y) of what is covered."""
    return None if mask.sum() < 20 else np.array([axis.mean() for axis in np.nonzero(mask)[::-1]])


def _heading(moved: NDArray[np.float64]) -> str | None:
    if np.abs(moved).max() < 6:
        return "still"
    if np.abs(moved).min() > 0.5 * np.abs(moved).max():
        return None
    return next(name for name, way in HEADINGS.items() if way == tuple(np.sign(moved) * (np.abs(moved) == np.abs(moved).max())))


def _shape(mask: NDArray[np.bool_]) -> str | None:
    """By the share of its bounding box that it covers: a disc π/4, a square all, a triangle half."""
    if mask.sum() < 20:
        return None
    rows, columns = (np.quantile(axis, (0.002, 0.998)) for axis in np.nonzero(mask))
    high, wide = rows[1] - rows[0] + 1, columns[1] - columns[0] + 1
    if max(high / mask.shape[0], wide / mask.shape[1]) > 0.95 and min(high / mask.shape[0], wide / mask.shape[1]) > 0.6:
        return "stripes"
    if not 0.7 < high / wide < 1.4:
        return None
    extent = mask.sum() / (high * wide)
    return "triangle" if 0.4 < extent < 0.64 else "circle" if 0.64 <= extent < 0.88 else "square" if extent >= 0.88 else None


def prompts(count: int, seed: int = 99) -> list[Wish]:
    """Prompts to judge by: every one tells ground, colour, shape and direction."""
    numbers = random.Random(seed)
    made: list[Wish] = []
    while len(made) < count:
        wish = canvas.invent(numbers)
        if all(name in wish.asked for name in JUDGED) and not (wish.asked["shape"] == "stripes" and numbers.random() < 0.5):
            made.append(wish)
    return made
