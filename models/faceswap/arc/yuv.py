"""Video's own pixel format to RGB and back on a device: half the bytes to move, and no work for the CPU.

A frame of yuv420p is one array (H * 3/2, W), as PyAV gives it: Y at full size, then U and V at half of each side. H and W are even.
"""

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor  # noqa: TID253

# Weights of red and blue in luma (ITU-R BT.601 and BT.709).
_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def to_rgb(planes: Tensor, matrix: str = "bt709") -> Tensor:
    """Frames (N, H * 3/2, W) uint8 in limited range to (N, H, W, 3) uint8."""
    n, height, width = planes.shape[0], planes.shape[1] * 2 // 3, planes.shape[2]
    luma = (planes[:, :height].float() - 16.0) * (255.0 / 219.0)
    chroma = (planes[:, height:].reshape(n, 2, height // 2, width // 2).float() - 128.0) * (255.0 / 224.0)
    u, v = F.interpolate(chroma, size=(height, width), mode="bilinear", align_corners=False).unbind(1)
    red, blue = _WEIGHTS[matrix]
    r = luma + v * (2 - 2 * red)
    b = luma + u * (2 - 2 * blue)
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return _bytes(torch.stack([r, g, b], dim=-1))


def from_rgb(frames: Tensor, matrix: str = "bt709") -> Tensor:
    """Frames (N, H, W, 3) uint8 to (N, H * 3/2, W) uint8 in limited range."""
    n, height, width, _ = frames.shape
    red, blue = _WEIGHTS[matrix]
    r, g, b = frames.float().unbind(-1)
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = torch.stack([(b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)], dim=1)  # (N, 2, H, W)
    halved = F.avg_pool2d(chroma, 2) * (224.0 / 255.0) + 128.0
    return torch.cat([_bytes(luma * (219.0 / 255.0) + 16.0), _bytes(halved).reshape(n, height // 2, width)], dim=1)


def _bytes(values: Tensor) -> Tensor:
    return values.add(0.5).clamp(0, 255).to(torch.uint8)
