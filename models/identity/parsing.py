"""BiSeNet: which pixels of an aligned face are skin, hair, background…; the network that PuLID was trained behind.

Yu et al., "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation", 2018, on a ResNet-18 without the spatial
path. Names of parameters are those of facexlib's `parsing_bisenet.pth`; widths are read from its tensors.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from numpy.typing import NDArray
from torch import Tensor, nn  # noqa: TID253

from models.safe_files import only_safetensors
from models.task import Image

FILE = "parsing_bisenet.safetensors"  # published as a pickle; tools/convert_weights.py makes this of it

# Of the 19 classes of CelebAMask-HQ: background, ears, earrings, neck, necklace, clothes, hat.
_NOT_FACE = (0, 7, 8, 9, 14, 15, 16, 18)
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class ParsedMask:
    """A `FaceMask` by BiSeNet. `folder` holds facexlib's weights, converted."""

    name = "parsed"

    def __init__(self, folder: Path, device: str) -> None:
        from safetensors.torch import load_file

        weights = load_file(only_safetensors(folder, FILE))
        with torch.device("meta"):
            network = BiSeNet({name: tensor.shape for name, tensor in weights.items()})
        # The heads on the side serve training alone.
        own = {name: tensor for name, tensor in weights.items() if not name.startswith(("conv_out16.", "conv_out32."))}
        network.load_state_dict(own, strict=True, assign=True)
        self.network = network.to(device).eval().requires_grad_(False)

    def __call__(self, aligned: Image) -> NDArray[np.bool_]:
        """(512, 512, 3) to (512, 512)."""
        values = ((aligned.astype(np.float32) / 255 - _MEAN) / _DEVIATION).transpose(2, 0, 1)
        weight = self.network.conv_out.conv_out.weight
        with torch.no_grad():
            classes = self.network(torch.from_numpy(values)[None].to(weight)).argmax(dim=1)[0]
        return ~np.isin(classes.cpu().numpy(), _NOT_FACE)


class _Conv(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        outer, inner, side, _ = shape
        self.conv = nn.Conv2d(inner, outer, side, padding=side // 2, bias=False)
        self.bn = nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)) if stride > 1 else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        changed = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.downsample(x) + changed)


class _ResNet(nn.Module):
    """ResNet-18's features at an eighth, a sixteenth and a thirty-second of the side."""

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        first, *_ = widths
        self.conv1 = nn.Conv2d(3, first, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        inner = first
        for level, outer in enumerate(widths, start=1):
            stride = 1 if level == 1 else 2
            self.add_module(f"layer{level}", nn.Sequential(_Residual(inner, outer, stride), _Residual(outer, outer, 1)))
            inner = outer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        quarter, eighth, sixteenth, last = (self.get_submodule(f"layer{level}") for level in (1, 2, 3, 4))
        fine = eighth(quarter(x))
        middle = sixteenth(fine)
        return fine, middle, last(middle)


class _Refinement(nn.Module):
    """Features weighed by what their mean says."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.conv = _Conv(shape)
        self.conv_atten = nn.Conv2d(shape[0], shape[0], 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(shape[0])

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x)
        mean = features.mean(dim=(2, 3), keepdim=True)
        return features * torch.sigmoid(self.bn_atten(self.conv_atten(mean)))


class _Context(nn.Module):
    """Coarse features carried down to the fine ones."""

    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__()
        widths: Any = tuple(shapes[f"cp.resnet.layer{level}.0.conv1.weight"][0] for level in (1, 2, 3, 4))
        self.resnet = _ResNet(widths)
        for name in ("arm16", "arm32"):
            self.add_module(name, _Refinement(shapes[f"cp.{name}.conv.conv.weight"]))
        for name in ("conv_head32", "conv_head16", "conv_avg"):
            self.add_module(name, _Conv(shapes[f"cp.{name}.conv.weight"]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        part = self.get_submodule
        fine, middle, coarse = self.resnet(x)
        coarse_sum = part("arm32")(coarse) + part("conv_avg")(coarse.mean(dim=(2, 3), keepdim=True))
        coarse_up = part("conv_head32")(F.interpolate(coarse_sum, middle.shape[2:]))
        middle_sum = part("arm16")(middle) + coarse_up
        return fine, part("conv_head16")(F.interpolate(middle_sum, fine.shape[2:]))


class _Fusion(nn.Module):
    """Fine and carried features in one, weighed by what their mean says."""

    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__()
        self.convblk = _Conv(shapes["ffm.convblk.conv.weight"])
        narrow, wide = shapes["ffm.conv1.weight"][:2]
        self.conv1 = nn.Conv2d(wide, narrow, 1, bias=False)
        self.conv2 = nn.Conv2d(narrow, wide, 1, bias=False)

    def forward(self, fine: Tensor, carried: Tensor) -> Tensor:
        features = self.convblk(torch.cat([fine, carried], dim=1))
        mean = features.mean(dim=(2, 3), keepdim=True)
        return features + features * torch.sigmoid(self.conv2(F.relu(self.conv1(mean))))


class _Head(nn.Module):
    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__()
        self.conv = _Conv(shapes["conv_out.conv.conv.weight"])
        classes, wide = shapes["conv_out.conv_out.weight"][:2]
        self.conv_out = nn.Conv2d(wide, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv(x))


class BiSeNet(nn.Module):
    """Picture (B, 3, H, W) to class scores (B, 19, H, W)."""

    def __init__(self, shapes: Mapping[str, torch.Size]) -> None:
        super().__init__()
        self.cp = _Context(shapes)
        self.ffm = _Fusion(shapes)
        self.conv_out = _Head(shapes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores at the size of the picture."""
        scores = self.conv_out(self.ffm(*self.cp(x)))
        return F.interpolate(scores, x.shape[2:], mode="bilinear", align_corners=True)
