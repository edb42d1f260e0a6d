"""ONNX models with random weights and the published layouts: the real architectures, but noise instead of faces.

`inswapper` and `scrfd` at full width have the size of the published files; `width` scales them down for fast tests. Nothing that they
paint or find means anything; they prove the path from file to pixels.
"""

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 7


class Graph:
    """Collects nodes and weights; every method returns the name of its result."""

    def __init__(self, seed: int = SEED) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(seed)

    def weight(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op: str, *inputs: str, out: str | None = None, **attributes: object) -> str:
        out = out or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=f"{op}_{len(self.nodes)}", **attributes))
        return out

    def const(self, values: object, dtype: type = np.int64) -> str:
        return self.node("Constant", value=numpy_helper.from_array(np.asarray(values, dtype)))

    def normal(self, *shape: int, fan_in: int, gain: float = 2.0) -> str:
        return self.weight(self.random.standard_normal(shape, np.float32) * np.float32(np.sqrt(gain / fan_in)))

    def conv(
        self, x: str, c_in: int, c_out: int, kernel: int, stride: int = 1, pad: int | None = None, gain: float = 2.0, mean: float = 0.0
    ) -> str:
        weight = self.normal(c_out, c_in, kernel, kernel, fan_in=c_in * kernel * kernel, gain=gain)
        bias = self.weight(self.random.standard_normal(c_out, np.float32) * np.float32(0.02) + np.float32(mean))
        pad = kernel // 2 if pad is None else pad
        return self.node("Conv", x, weight, bias, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def save(self, path: Path, inputs: dict[str, list[object]], outputs: dict[str, list[object]]) -> Path:
        def info(shapes: dict[str, list[object]]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

        graph = helper.make_graph(self.nodes, path.stem, info(inputs), info(outputs), self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
        path.write_bytes(model.SerializeToString())
        return path


def inswapper(path: Path, width: int = 1024, blocks: int = 6, fixed_shapes: bool = False, seed: int = SEED) -> Path:
    """inswapper_128's architecture; at width 1024 it has the published 138.29 M parameters (a 554 MB file).

    fixed_shapes: write the batch of one into Reshape and Resize constants, as exporters do, so that batching has to repair them.
    """
    g = Graph(seed)

    def reflect(x: str, pad: int) -> str:
        return g.node("Pad", x, g.const([0, 0, pad, pad] * 2), mode="reflect")

    def leaky(x: str) -> str:
        return g.node("LeakyRelu", x, alpha=0.2)

    def up(x: str, channels: int, size: int) -> str:
        roi, none = g.const([], np.float32), g.const([], np.float32)
        to = (none, g.const([1, channels, size, size])) if fixed_shapes else (g.const([1, 1, 2, 2], np.float32),)
        return g.node("Resize", x, roi, *to, mode="linear", coordinate_transformation_mode="pytorch_half_pixel")

    def style(start: int, stop: int, both: str) -> str:
        part = g.node("Slice", both, g.const([start]), g.const([stop]), g.const([1]))
        if fixed_shapes:
            return g.node("Reshape", part, g.const([1, stop - start, 1, 1]))
        return g.node("Unsqueeze", g.node("Unsqueeze", part, axes=[2]), axes=[3])

    def styled(x: str) -> str:
        mean = g.node("ReduceMean", x, axes=[2, 3], keepdims=1)
        centred = g.node("Sub", x, mean)
        variance = g.node("ReduceMean", g.node("Mul", centred, centred), axes=[2, 3], keepdims=1)
        deviation = g.node("Sqrt", g.node("Add", variance, g.const(1e-8, np.float32)))
        normal = g.node("Mul", centred, g.node("Div", g.const(1.0, np.float32), deviation))
        bias = np.concatenate([np.ones(width), np.zeros(width)]).astype(np.float32)
        both = g.node("Gemm", "source", g.normal(2 * width, 512, fan_in=512, gain=0.2), g.weight(bias), transB=1)
        return g.node("Add", g.node("Mul", normal, style(0, width, both)), style(width, 2 * width, both))

    x = leaky(g.conv(reflect("target", 3), 3, width // 8, 7, pad=0))
    x = leaky(g.conv(x, width // 8, width // 4, 3))
    x = leaky(g.conv(x, width // 4, width // 2, 3, stride=2))
    x = leaky(g.conv(x, width // 2, width, 3, stride=2))
    for _ in range(blocks):
        inner = g.node("Relu", styled(g.conv(reflect(x, 1), width, width, 3, pad=0)))
        x = g.node("Add", x, styled(g.conv(reflect(inner, 1), width, width, 3, pad=0)))
    x = leaky(g.conv(up(x, width, 64), width, width // 2, 3))
    x = leaky(g.conv(up(x, width // 2, 128), width // 2, width // 4, 3))
    x = leaky(g.conv(x, width // 4, width // 8, 3))
    x = g.node("Tanh", g.conv(reflect(x, 3), width // 8, 3, 7, pad=0, gain=0.02))
    g.node("Div", g.node("Add", x, g.const(1.0, np.float32)), g.const(2.0, np.float32), out="output")
    emap = g.random.standard_normal((512, 512), np.float32) / np.float32(np.sqrt(512))
    g.weights.append(numpy_helper.from_array(emap, "emap"))  # last, and used by no node: where insightface looks for it
    return g.save(path, {"target": [1, 3, 128, 128], "source": [1, 512]}, {"output": [1, 3, 128, 128]})


SCRFD_OUTPUTS = ("448", "471", "494", "451", "474", "497", "454", "477", "500")  # scores, boxes, points of strides 8, 16, 32


def scrfd(
    path: Path, width: int = 56, stages: tuple[int, ...] = (3, 4, 2, 3), head: int = 80, score: float = 0.0, seed: int = SEED
) -> Path:
    """SCRFD-10G's layout (backbone, PAFPN and heads, 4.2 M parameters at full width) with batch norms already folded in.

    score: mean of the scores before their sigmoid; the lower, the fewer "faces".
    """
    g = Graph(seed)
    planes = [width, width * 11 // 7, width * 11 // 7, width * 4]

    def block(x: str, c_in: int, c_out: int, stride: int) -> str:
        inner = g.conv(g.node("Relu", g.conv(x, c_in, c_out, 3, stride)), c_out, c_out, 3, gain=0.3)
        if stride > 1:
            x = g.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        if stride > 1 or c_in != c_out:
            x = g.conv(x, c_in, c_out, 1, gain=1.0)
        return g.node("Relu", g.node("Add", x, inner))

    def up(small: str, like: str) -> str:
        """Nearest resize to the size of `like`, with the chain of shape nodes that an exporter writes."""
        head_dims = g.node("Slice", g.node("Shape", small), g.const([0]), g.const([2]), g.const([0]))
        tail_dims = g.node("Slice", g.node("Shape", like), g.const([2]), g.const([4]), g.const([0]))
        sizes = g.node("Concat", head_dims, tail_dims, axis=0)
        modes = {"coordinate_transformation_mode": "asymmetric", "mode": "nearest", "nearest_mode": "floor"}
        return g.node("Resize", small, g.const([], np.float32), g.const([], np.float32), sizes, **modes)

    x = g.node("Relu", g.conv("input.1", 3, width // 2, 3, stride=2))
    x = g.node("Relu", g.conv(x, width // 2, width // 2, 3))
    x = g.node("Relu", g.conv(x, width // 2, width, 3))
    x, channels, levels = g.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), width, []
    for i, (count, c_out) in enumerate(zip(stages, planes, strict=True)):
        for j in range(count):
            x, channels = block(x, channels, c_out, 2 if i > 0 and j == 0 else 1), c_out
        levels.append(x)
    p3, p4, p5 = (g.conv(level, c, width, 1, gain=1.0) for level, c in zip(levels[1:], planes[1:], strict=True))
    p4 = g.node("Add", p4, up(p5, p4))
    p3 = g.node("Add", p3, up(p4, p3))
    p3, p4, p5 = (g.conv(p, width, width, 3, gain=1.0) for p in (p3, p4, p5))
    p4 = g.conv(g.node("Add", p4, g.conv(p3, width, width, 3, stride=2, gain=0.5)), width, width, 3, gain=1.0)
    p5 = g.conv(g.node("Add", p5, g.conv(p4, width, width, 3, stride=2, gain=0.5)), width, width, 3, gain=1.0)
    for level, p in enumerate((p3, p4, p5)):
        for i in range(3):
            p = g.node("Relu", g.conv(p, width if i == 0 else head, head, 3))
        for kind, (values, gain, mean) in enumerate(((1, 2.0, score), (4, 0.5, 2.0), (10, 0.5, 0.0))):
            y = g.conv(p, head, 2 * values, 3, gain=gain, mean=mean)
            flat = g.node(
                "Reshape", g.node("Transpose", y, perm=[2, 3, 0, 1]), g.const([-1, values]), out=None if kind == 0 else _out(kind, level)
            )
            if kind == 0:
                g.node("Sigmoid", flat, out=_out(kind, level))
    outputs: dict[str, list[object]] = {name: ["?", (1, 4, 10)[i // 3]] for i, name in enumerate(SCRFD_OUTPUTS)}
    return g.save(path, {"input.1": [1, 3, "?", "?"]}, outputs)


def _out(kind: int, level: int) -> str:
    return SCRFD_OUTPUTS[kind * 3 + level]


def constant_scrfd(path: Path, box: tuple[float, ...], points: np.ndarray, score: float = 0.9, size: int = 640) -> Path:
    """A "detector" whose outputs are constants: it sees one face, always at `box` with `points` (5, 2) of its `size`-pixel input.

    The face is written at the stride-32 anchor nearest to its middle, in SCRFD's encoding, so the real decoding and NMS run on it.
    """
    g, stride = Graph(), 32
    zero = g.node("Mul", g.node("ReduceMean", "input.1", axes=[0, 1, 2, 3], keepdims=0), g.const(0.0, np.float32))
    column, row = (int((box[i] + box[i + 2]) / 2 // stride) for i in (0, 1))
    index = (row * (size // stride) + column) * 2
    centre = np.array([column, row]) * stride
    found = {
        1: np.array([score]),
        4: np.concatenate([centre - box[:2], np.array(box[2:]) - centre]) / stride,
        10: ((points - centre) / stride).ravel(),
    }
    for kind, values in enumerate((1, 4, 10)):
        for level, step in enumerate((8, 16, 32)):
            rows = np.zeros((2 * (size // step) ** 2, values), np.float32)
            if step == stride:
                rows[index] = found[values]
            g.node("Add", g.weight(rows), zero, out=_out(kind, level))
    outputs: dict[str, list[object]] = {name: ["rows", (1, 4, 10)[i // 3]] for i, name in enumerate(SCRFD_OUTPUTS)}
    return g.save(path, {"input.1": [1, 3, size, size]}, outputs)


def arcface(path: Path, width: int = 8, seed: int = SEED) -> Path:
    """w600k_r50's input and output around a few convolutions."""
    g, x, channels = Graph(seed), "input.1", 3
    for c_out in (width, 2 * width, 4 * width, 8 * width):
        x = g.conv(x, channels, c_out, 3, stride=2)
        x, channels = g.node("PRelu", x, g.weight(np.full((c_out, 1, 1), 0.25, np.float32))), c_out
    flat = g.node("Flatten", x, axis=1)
    g.node("Gemm", flat, g.normal(512, channels * 49, fan_in=channels * 49), g.weight(np.zeros(512, np.float32)), transB=1, out="683")
    return g.save(path, {"input.1": ["None", 3, 112, 112]}, {"683": ["None", 512]})


def iresnet50(path: Path, seed: int = SEED) -> Path:
    """w600k_r50's architecture at its full width, batch norms folded in: 43.6 M parameters (a 174 MB file)."""
    g = Graph(seed)

    def prelu(x: str, channels: int) -> str:
        return g.node("PRelu", x, g.weight(np.full((channels, 1, 1), 0.25, np.float32)))

    x, channels = prelu(g.conv("input.1", 3, 64, 3), 64), 64
    for count, c_out in ((3, 64), (4, 128), (14, 256), (3, 512)):
        for j in range(count):
            stride = 2 if j == 0 else 1
            inner = g.conv(prelu(g.conv(x, channels, c_out, 3), c_out), c_out, c_out, 3, stride, gain=0.3)
            x, channels = g.node("Add", inner, x if j else g.conv(x, channels, c_out, 1, stride, gain=1.0)), c_out
    flat = g.node("Flatten", x, axis=1)
    g.node("Gemm", flat, g.normal(512, 512 * 49, fan_in=512 * 49), g.weight(np.zeros(512, np.float32)), transB=1, out="683")
    return g.save(path, {"input.1": ["None", 3, 112, 112]}, {"683": ["None", 512]})


def pin(folder: Path) -> None:
    """Write the folder's SHA256SUMS, which admits these builds in place of the published ones."""
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.glob("*.onnx"))]
    (folder / "SHA256SUMS").write_text("".join(lines))


def model_folder(folder: Path, width: int = 32) -> Path:
    """A whole model folder with random weights, narrow enough for fast tests."""
    folder.mkdir(parents=True, exist_ok=True)
    scrfd(folder / "det_10g.onnx", width=14, stages=(1, 1, 1, 1), head=16)
    arcface(folder / "w600k_r50.onnx")
    inswapper(folder / "inswapper_128.onnx", width=width)
    pin(folder)
    return folder
