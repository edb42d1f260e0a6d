"""The recogniser of @vladmandic/face-api as ONNX: its weights are published without a graph, so the graph is written here.

dlib's face recognition ResNet (King 2017), see `src/faceRecognitionNet` of the package. Eight-bit weights stay eight-bit in the file; the
runtime folds their scaling. The package's age estimator is left out: it took two of eight adults for 15 to 18.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PACKAGE = "vladmandic-face-api-1.7.15.tgz"
_MEAN = (122.782, 117.001, 104.298)


def recogniser(package: Path) -> onnx.ModelProto:
    """Input `image` f32 (N, 150, 150, 3) RGB in 0..255, output `embedding` (N, 128)."""
    net = _Net(package, "face_recognition_model")
    x = net.node("Relu", net.dlib_conv(net.image(), "conv32_down", stride=2, pads=0))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    size = 35
    blocks = ["32_1", "32_2", "32_3", "64_down", "64_1", "64_2", "64_3", "128_down", "128_1", "128_2", "256_down", "256_1", "256_2"]
    for block in [f"conv{name}" for name in blocks] + ["conv256_down_out"]:
        down = "down" in block
        y = net.node("Relu", net.dlib_conv(x, f"{block}/conv1", stride=2 if down else 1, pads=0 if down else 1))
        y = net.dlib_conv(y, f"{block}/conv2", stride=1, pads=1)
        if down:
            x = net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
            missing = size // 2 - ((size - 3) // 2 + 1)
            size //= 2
            y = net.node("Pad", y, net.const(np.array([0, 0, 0, 0, 0, 0, missing, missing]))) if missing else y
            channels = net.shape(f"{block}/conv2/conv/filters")[3] - net.shape(f"{block}/conv1/conv/filters")[2]
            x = net.node("Pad", x, net.const(np.array([0, 0, 0, 0, 0, channels, 0, 0]))) if channels else x
        x = net.node("Relu", net.node("Add", x, y))
    pooled = net.node("Flatten", net.node("GlobalAveragePool", x))
    net.node("MatMul", pooled, net.weight("fc"), out="embedding")
    return net.model("face_recogniser", 150, {"embedding": ["N", 128]})


class _Net:
    """Collects nodes; methods return the name of their result, NCHW."""

    def __init__(self, package: Path, name: str) -> None:
        with tarfile.open(package) as files:
            (manifest,) = json.loads(_member(files, f"package/model/{name}-weights_manifest.json"))
            raw = _member(files, f"package/model/{name}.bin")
        self.entries: dict[str, dict[str, Any]] = {}
        self.raw: dict[str, np.ndarray] = {}
        offset = 0
        for entry in manifest["weights"]:
            stored = np.dtype(entry.get("quantization", entry)["dtype"])
            count = int(np.prod(entry["shape"]))
            self.raw[entry["name"]] = np.frombuffer(raw, stored, count, offset).reshape(entry["shape"])
            self.entries[entry["name"]] = entry
            offset += count * stored.itemsize
        if offset != len(raw):
            raise ValueError(f"{name}.bin has {len(raw)} bytes, its manifest tells of {offset}")
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def shape(self, name: str) -> list[int]:
        """Of a weight, as stored."""
        return self.entries[name]["shape"]

    def node(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """One operator."""
        out = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def const(self, array: np.ndarray) -> str:
        """A constant of the graph."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def weight(self, name: str, axes: tuple[int, ...] | None = None) -> str:
        """A weight, its axes in another order, as float32: value = scale * stored + minimum."""
        array = self.raw[name] if axes is None else self.raw[name].transpose(axes)
        stored = self.const(array)
        how = self.entries[name].get("quantization")
        if how is None:
            return stored
        scaled = self.node("Mul", self.node("Cast", stored, to=TensorProto.FLOAT), self.const(np.float32(how["scale"])))
        return self.node("Add", scaled, self.const(np.float32(how["min"])))

    def image(self) -> str:
        """The input as planes around zero."""
        planes = self.node("Transpose", self.node("Sub", "image", self.const(np.array(_MEAN, np.float32))), perm=(0, 3, 1, 2))
        return self.node("Div", planes, self.const(np.float32(255)))

    def conv(self, x: str, name: str, stride: int, pads: list[int]) -> str:
        """A convolution with its bias."""
        kernel = self.weight(f"{name}/filters", (3, 2, 0, 1))
        return self.node("Conv", x, kernel, self.weight(f"{name}/bias"), strides=[stride] * 2, pads=pads)

    def dlib_conv(self, x: str, name: str, stride: int, pads: int) -> str:
        """A convolution and its scaling by channel, which stands for batch norm."""
        y = self.conv(x, f"{name}/conv", stride, [pads] * 4)
        scaled = self.node("Mul", y, self.weight_of_channel(f"{name}/scale/weights"))
        return self.node("Add", scaled, self.weight_of_channel(f"{name}/scale/biases"))

    def weight_of_channel(self, name: str) -> str:
        """A weight (C,) that acts on NCHW."""
        return self.node("Reshape", self.weight(name), self.const(np.array([1, -1, 1, 1])))

    def model(self, name: str, side: int, outputs: dict[str, list[Any]]) -> onnx.ModelProto:
        """The checked model."""
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", side, side, 3])
        results = [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items()]
        body = helper.make_graph(self.nodes, name, [image], results, self.constants)
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="face_weights")
        onnx.checker.check_model(model, full_check=True)
        return model


def _member(files: tarfile.TarFile, path: str) -> bytes:
    reader = files.extractfile(path)
    assert reader is not None
    return reader.read()
