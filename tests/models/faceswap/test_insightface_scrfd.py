"""SCRFD through insightface's reader, and the torch form against it. The networks have random weights: their faces mean nothing."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from models.errors import NotConfigured
from models.faceswap.arc.batching import scrfd_with_batch
from models.faceswap.arc.scrfd import Scrfd
from models.faceswap.engine import Face
from tests.models.faceswap import random_weights

SMALL = {"width": 14, "stages": (1, 1, 1, 1), "head": 16}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weights.scrfd(tmp_path_factory.mktemp("scrfd") / "det_10g.onnx", **SMALL)


def frames(count: int, height: int, width: int) -> np.ndarray:
    """Noise with some structure, so that scores differ."""
    random = np.random.default_rng(5)
    coarse = random.integers(0, 255, (count, height // 16, width // 16, 3), np.uint8)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)


def missing(faces: list[Face], among: list[Face]) -> int:
    """How many of `faces` have no equal in `among`."""

    def equal(a: Face, b: Face) -> bool:
        return bool(np.abs(a.box - b.box).max() < 1 and np.abs(a.landmarks - b.landmarks).max() < 1 and abs(a.score - b.score) < 0.01)

    return sum(not any(equal(face, other) for other in among) for face in faces)


def test_a_batch_equals_single_images(network: Path) -> None:
    import onnxruntime

    batched = scrfd_with_batch(onnx.load(network))
    single, many = (onnxruntime.InferenceSession(m) for m in (network.read_bytes(), batched.SerializeToString()))
    images = np.random.default_rng(0).uniform(-1, 1, (3, 3, 160, 96)).astype(np.float32)
    together = many.run(None, {"input.1": images})
    for i, image in enumerate(images):
        for one, all_ in zip(single.run(None, {"input.1": image[None]}), together, strict=True):
            np.testing.assert_array_equal(one, all_[i])


@pytest.mark.parametrize(("height", "width"), [(480, 832), (832, 480), (640, 640)])
def test_torch_finds_what_insightface_finds(network: Path, height: int, width: int) -> None:
    from models.faceswap.arc.scrfd_torch import TorchScrfd

    clip = frames(2, height, width)
    threshold = 0.92
    theirs = Scrfd(network, "cpu", threshold).detect(clip)
    ours = TorchScrfd(scrfd_with_batch(onnx.load(network)), "cpu", threshold=threshold).detect(clip)
    assert 5 < sum(map(len, theirs)) < 300
    # Where frames are resized, OpenCV and torch round pixels differently, which may tip a face at the threshold.
    allowed = 0 if height == width else 2
    for a, b in zip(ours, theirs, strict=True):
        assert missing(a, among=b) <= allowed
        assert missing(b, among=a) <= allowed


def test_torch_is_checked_against_onnxruntime_at_load(
    network: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from models.faceswap.arc import onnx_ops, scrfd_torch

    assert scrfd_torch.load_scrfd(network, "cpu") is not None
    monkeypatch.setitem(onnx_ops.OPS, "Relu", lambda _, x: torch.nn.functional.leaky_relu(x, 0.2))
    assert scrfd_torch.load_scrfd(network, "cpu") is None
    assert "differs from onnxruntime" in caplog.text


def test_largest_face_comes_first(network: Path) -> None:
    (found,) = Scrfd(network, "cpu", 0.92).detect(frames(1, 480, 480))
    areas = [float(np.prod(face.box[2:] - face.box[:2])) for face in found]
    assert len(areas) > 1
    assert areas == sorted(areas, reverse=True)


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = random_weights.arcface(tmp_path / "det_10g.onnx")
    with pytest.raises(NotConfigured, match="not a SCRFD detector: insightface reads it as ArcFaceONNX"):
        Scrfd(path, "cpu")
