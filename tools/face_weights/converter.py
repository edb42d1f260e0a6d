"""TFLite -> ONNX for the operators of the MediaPipe face models, without TensorFlow.

Activations become NCHW, the batch dimension becomes free, half-precision constants stay half-precision in the file and are cast when
the session is built (the runtime folds the cast).
"""

import numpy as np
import onnx
import tflite
from onnx import TensorProto, helper, numpy_helper

from tools.face_weights.tflite_graph import Graph, Operator

_ACTIVATIONS = {tflite.ActivationFunctionType.RELU: "Relu"}
_NCHW = (0, 3, 1, 2)
_NHWC = (0, 2, 3, 1)


def convert(graph: Graph, name: str, outputs: tuple[str, ...]) -> onnx.ModelProto:
    """The graph as an ONNX model: input `image` f32 (N, H, W, 3), outputs named in order, each (N, …) with the tail flattened as in TFLite.

    Raises ValueError on an operator that is not supported.
    """
    return _Builder(graph).model(name, outputs)


class _Builder:
    """Collects ONNX nodes while it walks the operators; `names` maps tensor numbers to ONNX values."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = dict(graph.constants)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.names: dict[int, str] = {}

    def model(self, name: str, outputs: tuple[str, ...]) -> onnx.ModelProto:
        (entry,) = self.graph.inputs
        self.names[entry] = self._node("Transpose", ["image"], perm=_NCHW)
        for operator in self.graph.operators:
            self._convert(operator)
        for number, output in zip(self.graph.outputs, outputs, strict=True):
            self._emit(number, output)
        _, height, width, channels = self.graph.shapes[entry]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", height, width, channels])
        results = [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", *self._tail(number)])
            for number, output in zip(self.graph.outputs, outputs, strict=True)
        ]
        body = helper.make_graph(self.nodes, name, [image], results, self.initializers)
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="face_weights")
        onnx.checker.check_model(model, full_check=True)
        return model

    def _convert(self, operator: Operator) -> None:
        match operator.kind:
            case "DEQUANTIZE":  # only ever half -> single precision of a constant
                self.constants[operator.outputs[0]] = self.constants[operator.inputs[0]]
            case "CONV_2D" | "DEPTHWISE_CONV_2D":
                self._convolution(operator)
            case "MAX_POOL_2D":
                self._pool(operator)
            case "PAD":
                self._pad(operator)
            case "RESIZE_BILINEAR":
                self._resize(operator)
            case "PRELU":
                slope = self._constant(self.constants[operator.inputs[1]].reshape(-1, 1, 1))
                self._bind(operator, self._node("PRelu", [self.names[operator.inputs[0]], slope]))
            case "ADD":
                value = self._node("Add", [self.names[number] for number in operator.inputs])
                self._bind(operator, self._activate(value, operator.options))
            case "RELU":
                self._bind(operator, self._node("Relu", [self.names[operator.inputs[0]]]))
            case "RESHAPE":  # the detector's heads: rows of the grid, then columns, then values
                value = self._node("Transpose", [self.names[operator.inputs[0]]], perm=_NHWC)
                self._bind(operator, self._reshape(value, self.graph.shapes[operator.outputs[0]][1:]))
            case other:
                raise ValueError(f"operator {other} is not one of the face models' operators")

    def _convolution(self, operator: Operator) -> None:
        source, weight, bias = operator.inputs
        kernel = self.constants[weight]
        depthwise = operator.kind == "DEPTHWISE_CONV_2D"
        # TFLite: (out, h, w, in), or (1, h, w, out) for depthwise; ONNX: (out, in / groups, h, w).
        kernel = kernel.transpose(3, 0, 1, 2) if depthwise else kernel.transpose(0, 3, 1, 2)
        options = operator.options
        dilations = (options.DilationHFactor(), options.DilationWFactor())
        value = self._node(
            "Conv",
            [self.names[source], self._constant(kernel), self._constant(self.constants[bias])],
            kernel_shape=kernel.shape[2:],
            strides=(options.StrideH(), options.StrideW()),
            dilations=dilations,
            group=self.graph.shapes[source][3] if depthwise else 1,
            pads=self._padding(source, kernel.shape[2:], options, dilations),
        )
        self._bind(operator, self._activate(value, options))

    def _pool(self, operator: Operator) -> None:
        options = operator.options
        size = (options.FilterHeight(), options.FilterWidth())
        pads = self._padding(operator.inputs[0], size, options, (1, 1))
        strides = (options.StrideH(), options.StrideW())
        self._bind(operator, self._node("MaxPool", [self.names[operator.inputs[0]]], kernel_shape=size, strides=strides, pads=pads))

    def _pad(self, operator: Operator) -> None:
        amounts = self.constants[operator.inputs[1]][list(_NCHW)]  # (4, 2): before and after, now in NCHW
        pads = self._constant(amounts.T.reshape(-1).astype(np.int64))
        self._bind(operator, self._node("Pad", [self.names[operator.inputs[0]], pads]))

    def _resize(self, operator: Operator) -> None:
        options = operator.options
        mode = "align_corners" if options.AlignCorners() else "half_pixel" if options.HalfPixelCenters() else "asymmetric"
        before, after = self.graph.shapes[operator.inputs[0]], self.graph.shapes[operator.outputs[0]]
        scales = self._constant(np.array([1, 1, after[1] / before[1], after[2] / before[2]], np.float32))
        inputs = [self.names[operator.inputs[0]], "", scales]
        self._bind(operator, self._node("Resize", inputs, mode="linear", coordinate_transformation_mode=mode))

    def _padding(self, source: int, kernel: tuple[int, ...], options: object, dilations: tuple[int, int]) -> list[int]:
        """TFLite's SAME padding puts the odd pixel last; VALID is none."""
        if options.Padding() == tflite.Padding.VALID:
            return [0, 0, 0, 0]
        totals = []
        for size, length, stride, dilation in zip(
            self.graph.shapes[source][1:3], kernel, (options.StrideH(), options.StrideW()), dilations, strict=True
        ):
            steps = -(-size // stride)
            totals.append(max((steps - 1) * stride + (length - 1) * dilation + 1 - size, 0))
        return [total // 2 for total in totals] + [total - total // 2 for total in totals]

    def _activate(self, value: str, options: object) -> str:
        activation = options.FusedActivationFunction()
        return value if activation == tflite.ActivationFunctionType.NONE else self._node(_ACTIVATIONS[activation], [value])

    def _emit(self, number: int, output: str) -> None:
        value = self.names[number]
        if len(self.graph.shapes[number]) == 4:
            value = self._reshape(self._node("Transpose", [value], perm=_NHWC), self._tail(number))
        self.nodes.append(helper.make_node("Identity", [value], [output]))

    def _tail(self, number: int) -> tuple[int, ...]:
        shape = self.graph.shapes[number]
        return (int(np.prod(shape[1:])),) if len(shape) == 4 else shape[1:]

    def _reshape(self, value: str, tail: tuple[int, ...]) -> str:
        return self._node("Reshape", [value, self._constant(np.array([0, *tail], np.int64))])

    def _constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return self._node("Cast", [name], to=TensorProto.FLOAT) if array.dtype == np.float16 else name

    def _node(self, kind: str, inputs: list[str], **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _bind(self, operator: Operator, value: str) -> None:
        self.names[operator.outputs[0]] = value
