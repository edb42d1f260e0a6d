from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from models.errors import NotConfigured
from models.faceswap.arc.batching import with_batch
from models.faceswap.arc.inswapper import OnnxSwapper, latent, load_onnx, read_table, trial
from models.faceswap.arc.sessions import open_session, providers
from tests.models.faceswap import random_weights


@pytest.fixture(scope="module", params=["free shapes", "fixed shapes"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inswapper") / "inswapper_128.onnx"
    return random_weights.inswapper(path, width=16, blocks=2, fixed_shapes=request.param == "fixed shapes")


def with_last_node(path: Path, *nodes: onnx.NodeProto, constant: tuple[str, np.ndarray] | None = None) -> Path:
    """The network with its output sent through `nodes`, which read "swapped" and make "output"."""
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "swapped"
    if constant is not None:
        model.graph.node.append(helper.make_node("Constant", [], [constant[0]], value=numpy_helper.from_array(constant[1])))
    model.graph.node.extend(nodes)
    changed = path.with_name("changed.onnx")
    onnx.save(model, changed)
    return changed


def test_a_batch_equals_single_faces(network: Path) -> None:
    crops, latents = trial(5)
    single = OnnxSwapper(open_session(network, "cpu"), 1, "single").run(crops, latents)
    many = load_onnx(network, with_batch(onnx.load(network)), "cpu", batch=4)
    assert many.name == "onnxruntime, batch 4"
    assert single.std() > 0.01
    np.testing.assert_allclose(many.run(crops, latents), single, atol=1e-6)


def test_every_face_gets_its_own_identity(network: Path) -> None:
    crops, latents = trial(3)
    crops[:] = crops[0]
    swapper = load_onnx(network, with_batch(onnx.load(network)), "cpu")
    painted = swapper.run(crops, latents)
    assert np.abs(painted[0] - painted[1]).mean() > 1e-4
    np.testing.assert_allclose(swapper.run(crops[:1], latents[2:]), painted[2:], atol=1e-6)


def test_the_table_stays_last(network: Path) -> None:
    model = onnx.load(network)
    before = read_table(model)
    np.testing.assert_array_equal(read_table(with_batch(model)), before)


def test_a_lost_table_is_an_error(network: Path) -> None:
    model = onnx.load(network)
    del model.graph.initializer[-1]
    with pytest.raises(NotConfigured, match="identity table"):
        read_table(model)


def test_the_latent_is_insightfaces(network: Path) -> None:
    """Against the arithmetic inside insightface's INSwapper, seen through a network that returns the latent it was given."""
    from insightface.app.common import Face
    from insightface.model_zoo.inswapper import INSwapper

    class Recorder:
        """A session that keeps what it is fed; a stand-in for onnxruntime's, to look into INSwapper.get."""

        def __init__(self) -> None:
            self.real = open_session(network, "cpu")
            self.get_inputs, self.get_outputs = self.real.get_inputs, self.real.get_outputs

        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            self.fed = feed["source"]
            return self.real.run(names, feed)

    session = Recorder()
    embedding = np.random.default_rng(1).standard_normal(512).astype(np.float32) * 20
    points = np.array([[196, 112], [247, 110], [223, 140], [203, 167], [246, 165]], np.float32)
    swapper = INSwapper(str(network), session)
    swapper.get(np.zeros((300, 300, 3), np.uint8), Face(kps=points), Face(embedding=embedding), paste_back=False)
    np.testing.assert_allclose(latent(embedding, read_table(onnx.load(network))), session.fed[0], atol=1e-6)


@pytest.mark.parametrize(
    ("device", "has_cuda", "wanted"),
    [("cpu", True, ["CPU"]), ("cuda", True, ["CUDA:0", "CPU"]), ("cuda:1", True, ["CUDA:1", "CPU"]), ("cuda", False, ["CPU"])],
)
def test_providers(
    device: str, has_cuda: bool, wanted: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    available = [*(["CUDAExecutionProvider"] if has_cuda else []), "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: available)
    found = [p if isinstance(p, str) else f"{p[0]}:{p[1]['device_id']}" for p in providers(device)]
    assert [name.replace("ExecutionProvider", "") for name in found] == wanted
    assert ("no CUDA provider" in caplog.text) == (device == "cuda" and not has_cuda)


def test_a_graph_that_cannot_batch_runs_face_by_face(network: Path, caplog: pytest.LogCaptureFixture) -> None:
    shape = ("shape", np.array([3, 128, 128]))
    flat = helper.make_node("Reshape", ["swapped", "shape"], ["flat"])
    back = helper.make_node("Unsqueeze", ["flat"], ["output"], axes=[0])
    path = with_last_node(network, flat, back, constant=shape)
    swapper = load_onnx(path, with_batch(onnx.load(path)), "cpu")
    assert swapper.name == "onnxruntime"
    assert "one face at a time: its graph does not run with a batch" in caplog.text
    assert swapper.run(*trial(3)).shape == (3, 3, 128, 128)


def test_a_graph_that_mixes_faces_runs_face_by_face(network: Path, caplog: pytest.LogCaptureFixture) -> None:
    mixed = helper.make_node("ReduceMean", ["swapped"], ["mean"], axes=[0], keepdims=1)
    centred = helper.make_node("Sub", ["swapped", "mean"], ["output"])
    path = with_last_node(network, mixed, centred)
    assert load_onnx(path, with_batch(onnx.load(path)), "cpu").name == "onnxruntime"
    assert "with a batch its output differs" in caplog.text
