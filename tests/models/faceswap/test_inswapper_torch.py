from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from models.errors import NotConfigured
from models.faceswap.arc import onnx_ops
from models.faceswap.arc.batching import constants, with_batch
from models.faceswap.arc.fusion import fuse_styled_norms, live, operations
from models.faceswap.arc.graphs import split
from models.faceswap.arc.inswapper import OnnxSwapper, trial
from models.faceswap.arc.inswapper_torch import TorchSwapper, load_torch
from models.faceswap.arc.onnx_torch import OnnxTorch
from models.faceswap.arc.sessions import open_session
from tests.models.faceswap import random_weights

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module", params=["free shapes", "fixed shapes"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inswapper") / "inswapper_128.onnx"
    return random_weights.inswapper(path, width=16, fixed_shapes=request.param == "fixed shapes")


def expected(network: Path, count: int) -> np.ndarray:
    return OnnxSwapper(open_session(network, "cpu"), 1, "single").run(*trial(count))


def test_equals_onnxruntime(network: Path) -> None:
    swapper = TorchSwapper(with_batch(onnx.load(network)), "cpu")
    np.testing.assert_allclose(swapper.run(*trial(5)), expected(network, 5), atol=2e-5)


def test_half_precision_stays_within_three_levels(network: Path) -> None:
    swapper = TorchSwapper(with_batch(onnx.load(network)), "cpu", dtype=torch.float16)
    np.testing.assert_allclose(swapper.run(*trial(2)), expected(network, 2), atol=3 / 255)


@pytest.mark.parametrize("deviation", [0.0, 1e-4, 300.0])
def test_the_styled_norm_keeps_its_statistics_in_full_precision(deviation: float) -> None:
    """In float16 the epsilon is zero, the variance of 1e-4 underflows and the squares of 300 overflow."""
    x = (torch.randn(2, 3, 16, 16, generator=torch.manual_seed(0)) * deviation + 0.01).half()
    scale, shift = torch.full((2, 3, 1, 1), 2.0).half(), torch.full((2, 3, 1, 1), 0.5).half()
    found = onnx_ops.OPS["StyledNorm"]({"epsilon": 1e-8}, x, scale, shift)
    exact = x.double()
    centred = exact - exact.mean((2, 3), keepdim=True)
    wanted = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-8).sqrt() * 2.0 + 0.5
    assert found.dtype == torch.float16
    np.testing.assert_allclose(found.double(), wanted, atol=5e-3, rtol=2e-3)


def test_every_styled_norm_is_fused(network: Path) -> None:
    model = onnx.load(network)
    kinds = [op.kind for op in live(fuse_styled_norms(operations(model), constants(model)), ["output"])]
    assert kinds.count("StyledNorm") == 12
    assert "Sqrt" not in kinds
    assert "ReduceMean" not in kinds


def test_an_unknown_operator_is_named(network: Path) -> None:
    model = onnx.load(network)
    next(node for node in model.graph.node if node.op_type == "Tanh").op_type = "Softsign"
    with pytest.raises(NotConfigured, match="uses Softsign"):
        OnnxTorch(model)


def test_is_refused_when_it_differs(network: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_batch(onnx.load(network))
    assert load_torch(network, model, "cpu") is not None
    monkeypatch.setitem(onnx_ops.OPS, "LeakyRelu", lambda _, x: torch.relu(x))
    assert load_torch(network, model, "cpu") is None
    assert "differs from onnxruntime" in caplog.text


def test_is_refused_when_it_does_not_run(network: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(onnx_ops.OPS, "Tanh")
    assert load_torch(network, with_batch(onnx.load(network)), "cpu") is None
    assert "does not run in torch (the graph 'inswapper_128' uses Tanh" in caplog.text


@pytest.mark.parametrize(
    ("count", "parts"),
    [(0, []), (1, [1]), (2, [1, 1]), (3, [4]), (5, [4, 1]), (6, [8]), (8, [8]), (24, [32]), (33, [32, 1]), (50, [32, 16, 1, 1])],
)
def test_buckets(count: int, parts: list[int]) -> None:
    assert split(count) == parts
    assert sum(parts) >= count


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("count", [1, 7, 33])
def test_on_a_gpu(network: Path, count: int) -> None:
    swapper = load_torch(network, with_batch(onnx.load(network)), "cuda")
    assert swapper is not None
    assert swapper.name == "torch float16, CUDA graphs"
    np.testing.assert_allclose(swapper.run(*trial(count)), expected(network, count), atol=3 / 255)
