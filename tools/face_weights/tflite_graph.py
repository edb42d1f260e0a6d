"""A TFLite file as plain Python: its operators in order, their options, and its constants as arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite

_DTYPES = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
}
_OPTIONS = {
    "CONV_2D": tflite.Conv2DOptions,
    "DEPTHWISE_CONV_2D": tflite.DepthwiseConv2DOptions,
    "MAX_POOL_2D": tflite.Pool2DOptions,
    "ADD": tflite.AddOptions,
    "RESIZE_BILINEAR": tflite.ResizeBilinearOptions,
}
_NAMES = {value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}


@dataclass(frozen=True)
class Operator:
    """One operator: tensor numbers in and out, and its options table (None for operators without one)."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


@dataclass(frozen=True)
class Graph:
    """The one subgraph of a TFLite file. `shapes` are NHWC with batch 1; `constants` holds the tensors with data."""

    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: dict[int, tuple[int, ...]]
    constants: dict[int, np.ndarray]


def parse(data: bytes) -> Graph:
    """Read a TFLite flatbuffer. Raises KeyError on a tensor type the face models do not use."""
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    shapes: dict[int, tuple[int, ...]] = {}
    constants: dict[int, np.ndarray] = {}
    for number in range(graph.TensorsLength()):
        tensor = graph.Tensors(number)
        shapes[number] = tuple(int(n) for n in tensor.ShapeAsNumpy())
        raw = model.Buffers(tensor.Buffer()).DataAsNumpy()
        if not isinstance(raw, int) and raw.size:
            constants[number] = raw.view(_DTYPES[tensor.Type()]).reshape(shapes[number])
    operators = tuple(_operator(model, graph.Operators(number)) for number in range(graph.OperatorsLength()))
    return Graph(operators, _numbers(graph.InputsAsNumpy()), _numbers(graph.OutputsAsNumpy()), shapes, constants)


def _operator(model: Any, operator: Any) -> Operator:
    code = model.OperatorCodes(operator.OpcodeIndex())
    # Old files fill only the deprecated 8-bit field, new ones both.
    kind = _NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
    options = None
    if kind in _OPTIONS:
        options = _OPTIONS[kind]()
        options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
    return Operator(kind, _numbers(operator.InputsAsNumpy()), _numbers(operator.OutputsAsNumpy()), options)


def _numbers(array: np.ndarray) -> tuple[int, ...]:
    return tuple(int(n) for n in array)
