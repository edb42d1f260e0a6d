import numpy as np
import pytest

from models.errors import WeightsMissing
from models.identity.parsing import FILE, ParsedMask

WIDTHS = (8, 8, 16, 24)
SLIM = 12


def published(widths=WIDTHS, slim=SLIM, classes=19):
    """Names and shapes of facexlib's file, narrow: a ResNet-18, two refinements, three convolutions, a fusion and three heads."""
    shapes = {}

    def norm(name, width):
        shapes.update({f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = ()

    def conv(name, outer, inner, side):
        shapes[f"{name}.conv.weight"] = (outer, inner, side, side)
        norm(f"{name}.bn", outer)

    shapes["cp.resnet.conv1.weight"] = (widths[0], 3, 7, 7)
    norm("cp.resnet.bn1", widths[0])
    inner = widths[0]
    for level, outer in enumerate(widths, start=1):
        for block, entering in enumerate((inner, outer)):
            name = f"cp.resnet.layer{level}.{block}"
            for n, width in ((1, entering), (2, outer)):
                shapes[f"{name}.conv{n}.weight"] = (outer, width, 3, 3)
                norm(f"{name}.bn{n}", outer)
            if level > 1 and block == 0:
                shapes[f"{name}.downsample.0.weight"] = (outer, entering, 1, 1)
                norm(f"{name}.downsample.1", outer)
        inner = outer
    for name, width in (("arm16", widths[2]), ("arm32", widths[3])):
        conv(f"cp.{name}.conv", slim, width, 3)
        shapes[f"cp.{name}.conv_atten.weight"] = (slim, slim, 1, 1)
        norm(f"cp.{name}.bn_atten", slim)
    for name, width, side in (("conv_head32", slim, 3), ("conv_head16", slim, 3), ("conv_avg", widths[3], 1)):
        conv(f"cp.{name}", slim, width, side)
    both = widths[1] + slim
    conv("ffm.convblk", both, both, 1)
    shapes |= {"ffm.conv1.weight": (both // 4, both, 1, 1), "ffm.conv2.weight": (both, both // 4, 1, 1)}
    for name, width in (("conv_out", both), ("conv_out16", slim), ("conv_out32", slim)):
        conv(f"{name}.conv", slim, width, 3)
        shapes[f"{name}.conv_out.weight"] = (classes, slim, 1, 1)
    return shapes


def draw(shapes):
    import torch

    seed = torch.Generator().manual_seed(0)

    def tensor(name, shape):
        if name.endswith("num_batches_tracked"):
            return torch.tensor(1)
        if len(shape) == 1:
            return torch.rand(shape, generator=seed) + 0.5
        return torch.randn(shape, generator=seed) / np.prod(shape[1:]) ** 0.5

    return {name: tensor(name, shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("parsing")
    save_file(draw(published()), folder / FILE)
    return folder


def test_the_published_layout_is_read_strictly(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    mask = ParsedMask(folder, "cpu")
    face = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    kept = mask(face)
    assert kept.shape == (512, 512)
    assert kept.dtype == np.bool_
    broken = load_file(folder / FILE)
    del broken["ffm.conv2.weight"]
    save_file(broken, tmp_path / FILE)
    with pytest.raises(RuntimeError, match=r"ffm\.conv2"):
        ParsedMask(tmp_path, "cpu")


def test_the_real_widths_count_as_published():
    import torch

    from models.identity.parsing import BiSeNet

    shapes = {name: torch.Size(shape) for name, shape in published((64, 128, 256, 512), 128).items()}
    shapes["conv_out.conv.conv.weight"] = torch.Size((256, 256, 3, 3))
    shapes["conv_out.conv_out.weight"] = torch.Size((19, 256, 1, 1))
    with torch.device("meta"):
        network = BiSeNet(shapes)
    heads = 2 * (128 * 64 * 9 + 2 * 64 + 64 * 19)  # those that serve training alone
    assert sum(p.numel() for p in network.parameters()) + heads == 13_300_416


def test_classes_that_are_not_face_are_left_out(folder):
    """With the last layer told to answer one class everywhere, the mask is all or nothing."""
    mask = ParsedMask(folder, "cpu")
    head = mask.network.conv_out.conv_out.weight
    face = np.full((512, 512, 3), 200, np.uint8)
    for answer, is_face in ((0, False), (1, True), (10, True), (14, False), (16, False), (17, True), (18, False)):
        head.zero_()
        head[answer] = 1
        assert (mask(face) == is_face).all()


def test_the_published_pickle_is_not_opened(tmp_path):
    (tmp_path / "parsing_bisenet.pth").touch()
    with pytest.raises(WeightsMissing, match=r"parsing_bisenet\.pth is a pickle"):
        ParsedMask(tmp_path, "cpu")
