"""Pictures to learn from: procedural scenes (dead leaves over coloured noise) and free photographs that installed packages ship.

The held-out pictures of `evaluate.py` are never read here.
"""

import importlib.util
import math
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

# Package, folder and file; all are free to use (public domain, CC0 or CC BY), see the weights' card.
PHOTOGRAPHS = (
    *(("skimage", "data", name) for name in ("coffee.png", "chelsea.png", "rocket.jpg", "hubble_deep_field.jpg")),
    *(("skimage", "data", name) for name in ("grass.png", "gravel.png", "brick.png", "camera.png", "ihc.png", "coins.png", "page.png")),
    *(("sklearn", "datasets/images", name) for name in ("china.jpg", "flower.jpg")),
)

SIDE = 832  # of the stock's square pictures


def photographs() -> list[np.ndarray]:
    """Those of `PHOTOGRAPHS` that are installed: uint8 (H, W, 3), RGB."""
    import cv2

    found: list[np.ndarray] = []
    for package, folder, name in PHOTOGRAPHS:
        spec = importlib.util.find_spec(package)
        path = Path(spec.origin).parent / folder / name if spec and spec.origin else None
        picture = cv2.imread(str(path)) if path and path.exists() else None
        if picture is not None:
            found.append(np.ascontiguousarray(picture[..., ::-1]))
    return found


def stock(count: int, side: int, seed: int, device: torch.device) -> torch.Tensor:
    """`count` square pictures, half of them photographs and half dead leaves: uint8 (count, 3, side, side) on the host."""
    generator = torch.Generator(device).manual_seed(seed)
    numbers = np.random.default_rng(seed)
    photos = photographs()
    kept: list[torch.Tensor] = []
    while sum(len(part) for part in kept) < count:
        taken = torch.stack([torch.from_numpy(_crop(photos, side, side, numbers)) for _ in range(min(16, count))])
        real = taken.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        kept.append(_stored(real).cpu())
        kept.append(_stored(_leaves(real, generator)).cpu())
    return torch.cat(kept)[:count]


class Scenes:
    """A fixed stock of pictures on the device, and random crops of it."""

    def __init__(self, pictures: torch.Tensor, seed: int, device: torch.device) -> None:
        self.generator = torch.Generator(device).manual_seed(seed)
        self.host = torch.Generator().manual_seed(seed)  # places are drawn on the host, so that a crop costs no wait for the device
        self.device = device
        self.pictures = pictures.to(device)

    def draw(self, count: int, height: int, width: int) -> torch.Tensor:
        """Random crops, mirrored and recoloured: (count, 3, height, width) in -1..1."""
        chosen = [self.integer(len(self.pictures)) for _ in range(count)]
        full_height, full_width = self.pictures.shape[2:]
        crops: list[torch.Tensor] = []
        for index in chosen:
            top = self.integer(full_height - height + 1)
            left = self.integer(full_width - width + 1)
            crop = self.pictures[index, :, top : top + height, left : left + width]
            crops.append(crop.flip(2) if self.integer(2) else crop)
        batch = torch.stack(crops).float() / 127.5 - 1
        if self.integer(2):
            batch = batch[:, torch.randperm(3, generator=self.generator, device=self.device)]
        gain = 1 + 0.25 * torch.randn(count, 1, 1, 1, generator=self.generator, device=self.device).clamp(-1.5, 1.5)
        shift = 0.15 * torch.randn(count, 3, 1, 1, generator=self.generator, device=self.device).clamp(-1.5, 1.5)
        return (batch * gain + shift).clamp(-1, 1)

    def integer(self, below: int) -> int:
        """A random number in 0..below - 1."""
        return int(torch.randint(max(below, 1), (1,), generator=self.host).item())


def _stored(pictures: torch.Tensor) -> torch.Tensor:
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def _crop(photos: list[np.ndarray], height: int, width: int, numbers: np.random.Generator) -> np.ndarray:
    """A random part of a random photograph at a random scale, sometimes with writing on it."""
    import cv2

    photo = photos[numbers.integers(len(photos))]
    if numbers.random() < 0.15:
        photo = np.rot90(photo)
    scale = float(np.exp(numbers.uniform(np.log(0.5), np.log(2.0))))
    grown = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    below, beside = max(height - grown.shape[0], 0), max(width - grown.shape[1], 0)
    grown = cv2.copyMakeBorder(grown, 0, below, 0, beside, cv2.BORDER_REFLECT_101)
    top, left = numbers.integers(grown.shape[0] - height + 1), numbers.integers(grown.shape[1] - width + 1)
    part = np.ascontiguousarray(grown[top : top + height, left : left + width])
    if scale > 1.3:  # enlarged photographs are soft: give back the contrast of fine detail
        soft = cv2.GaussianBlur(part, (0, 0), 1.2 * scale)
        part = cv2.addWeighted(part, 2.0, soft, -1.0, 0)
    if numbers.random() < 0.15:
        for _ in range(numbers.integers(2, 9)):
            words = "".join(chr(numbers.integers(33, 126)) for _ in range(numbers.integers(3, 14)))
            place = (int(numbers.integers(width)), int(numbers.integers(height)))
            colour = tuple(int(value) for value in numbers.integers(0, 256, 3))
            cv2.putText(
                part,
                words,
                place,
                int(numbers.integers(0, 8)),
                float(numbers.uniform(0.4, 3)),
                colour,
                int(numbers.integers(1, 5)),
                cv2.LINE_AA,
            )
    return part


def _noise(count: int, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """Coloured noise whose spectrum falls like that of photographs: (count, 3, height, width), unit spread."""
    device = generator.device
    white = torch.randn(count, 3, height, width, generator=generator, device=device)
    fy = torch.fft.fftfreq(height, device=device)[:, None] * height
    fx = torch.fft.rfftfreq(width, device=device)[None] * width
    fall = 0.7 + 1.3 * torch.rand(count, 1, 1, 1, generator=generator, device=device)
    spectrum = torch.fft.rfft2(white) / (1 + torch.hypot(fy, fx)) ** fall
    field = torch.fft.irfft2(spectrum, s=(height, width))
    mix = 0.6 * torch.randn(count, 3, 3, generator=generator, device=device) + torch.ones(3, 3, device=device)
    field = torch.einsum("bij,bjhw->bihw", mix, field)
    return field / field.std(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)


def _leaves(photos: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Dead leaves: shapes of all sizes hiding each other, filled with colour, noise or photograph. Same shape as `photos`."""
    count, _, height, width = photos.shape
    device = photos.device
    y = torch.arange(height, device=device, dtype=torch.float32)[:, None]
    x = torch.arange(width, device=device, dtype=torch.float32)[None]

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, 1, 1, generator=generator, device=device) * (high - low) + low

    noise = _noise(count, height, width, generator) * 0.3
    canvas = noise + uniform(-0.5, 0.5)[:, None]
    for number in range(70):
        radius = torch.exp(uniform(math.log(7.0), math.log(230.0))) if number < 55 else torch.exp(uniform(math.log(4.0), math.log(30.0)))
        dx, dy = x - uniform(0, width), y - uniform(0, height)
        turn, narrow, corner = uniform(0, 3.15), torch.exp(uniform(-1.6, 0)), torch.exp(uniform(0.3, 2.3))
        u = (dx * torch.cos(turn) + dy * torch.sin(turn)) / radius
        v = (dy * torch.cos(turn) - dx * torch.sin(turn)) / (radius * narrow)
        reach = (u.abs() ** corner + v.abs() ** corner + 1e-6) ** (1 / corner)
        soft = torch.where(uniform(0, 1) < 0.75, uniform(0.4, 1.0), uniform(1.0, 9.0))
        cover = ((1 - reach) * radius * narrow / soft + 0.5).clamp(0, 1)[:, None]
        grey = torch.randn(count, 1, 1, 1, generator=generator, device=device) * 0.5
        colour = grey + torch.randn(count, 3, 1, 1, generator=generator, device=device) * 0.25
        slope = (u * uniform(-0.3, 0.3) + v * uniform(-0.3, 0.3))[:, None]
        stripes = (torch.sin(u * torch.exp(uniform(0.5, 3.5))) * uniform(-0.4, 0.4) * (uniform(0, 1) < 0.25))[:, None]
        fill = colour + slope + stripes + noise.roll(number * 37, 3) * uniform(0, 1.2)[:, None]
        fill = torch.where(uniform(0, 1)[:, None] < 0.35, photos.roll(number * 53, 3), fill)
        canvas = torch.lerp(canvas, fill, cover)
    blur = functional.interpolate(functional.avg_pool2d(canvas, 2), size=(height, width), mode="bilinear", align_corners=False)
    return torch.lerp(canvas, blur, uniform(0, 1)[:, None].round() * 0.7).clamp(-1, 1)
