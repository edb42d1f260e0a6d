"""ONNX operators as torch functions: those that SCRFD, ArcFace and inswapper are made of.

Shapes and other whole numbers stay lists or tensors on the CPU, so that following a graph never waits for the GPU.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor  # noqa: TID253

Attributes = Mapping[str, Any]
Op = Callable[..., Any]  # (attributes, *inputs) -> Tensor or a tuple of them; an input left out is None
Numbers = list[Any] | Tensor  # numbers that shape the work: a list when the graph holds them, a CPU tensor when it computes them

# Which inputs of an operator are `Numbers`.
NUMBERS: Mapping[str, tuple[int, ...]] = {
    "Clip": (1, 2),
    "Pad": (1, 2),
    "ReduceMean": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}

_MODES = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}


def _list(numbers: Numbers | None, otherwise: Any = None) -> list[Any]:
    if numbers is None:
        return list(otherwise)
    return numbers if isinstance(numbers, list) else numbers.tolist()


def _padded(x: Tensor, a: Attributes, value: float = 0.0) -> tuple[Tensor, tuple[int, int]]:
    """Split ONNX pads [top, left, bottom, right] into torch's symmetric padding and, for the rest, real padding."""
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    if (top, left) == (bottom, right):
        return x, (top, left)
    return F.pad(x, (left, right, top, bottom), value=value), (0, 0)


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    x, padding = _padded(x, a)
    return F.conv2d(x, weight, bias, tuple(a.get("strides", (1, 1))), padding, tuple(a.get("dilations", (1, 1))), a.get("group", 1))


def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    x, padding = _padded(x, a, float("-inf"))
    return F.max_pool2d(x, a["kernel_shape"], a.get("strides", (1, 1)), padding, ceil_mode=bool(a.get("ceil_mode", 0)))


def _average_pool(a: Attributes, x: Tensor) -> Tensor:
    x, padding = _padded(x, a)
    ceil, count = bool(a.get("ceil_mode", 0)), bool(a.get("count_include_pad", 0))
    return F.avg_pool2d(x, a["kernel_shape"], a.get("strides", (1, 1)), padding, ceil, count)


def _pad(a: Attributes, x: Tensor, pads: Numbers | None = None, value: Numbers | None = None) -> Tensor:
    amounts = _list(pads, a.get("pads"))
    rank = len(amounts) // 2
    flat = [side for axis in reversed(range(rank)) for side in (amounts[axis], amounts[axis + rank])]
    mode = a.get("mode", "constant")
    if mode == "constant":
        return F.pad(x, flat, value=0.0 if value is None else _number(value))
    return F.pad(x, flat[:4], mode="replicate" if mode == "edge" else mode)


def _resize(a: Attributes, x: Tensor, _roi: Numbers | None, scales: Numbers | None = None, sizes: Numbers | None = None) -> Tensor:
    mode = _MODES[a.get("mode", "nearest")]
    corners = None if mode == "nearest" else a.get("coordinate_transformation_mode") == "align_corners"
    if sizes is not None:
        return F.interpolate(x, size=_list(sizes)[2:], mode=mode, align_corners=corners)
    return F.interpolate(x, scale_factor=_list(scales)[2:], mode=mode, align_corners=corners)


def _slice(a: Attributes, x: Tensor, *bounds: Numbers | None) -> Tensor:
    starts, ends, axes, steps = (*bounds, *(None,) * (4 - len(bounds)))
    start_list = _list(starts, a.get("starts"))
    count = len(start_list)
    index = [slice(None)] * x.ndim
    axis_list, step_list = _list(axes, a.get("axes", range(count))), _list(steps, (1,) * count)
    for start, end, axis, step in zip(start_list, _list(ends, a.get("ends")), axis_list, step_list, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def _unsqueeze(a: Attributes, x: Tensor, axes: Numbers | None = None) -> Tensor:
    for axis in sorted(_list(axes, a.get("axes"))):
        x = x.unsqueeze(axis)
    return x


def _reshape(_: Attributes, x: Tensor, shape: Numbers) -> Tensor:
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(_list(shape))])


def _reduce_mean(a: Attributes, x: Tensor, axes: Numbers | None = None) -> Tensor:
    return x.mean(_list(axes, a.get("axes")), keepdim=bool(a.get("keepdims", 1)))


def _gather(a: Attributes, x: Tensor, index: Tensor) -> Tensor:
    axis = a.get("axis", 0)
    return x.index_select(axis, index.reshape(-1)).reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _gemm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if a.get("transA", 0) or a.get("alpha", 1.0) != 1.0 or a.get("beta", 1.0) != 1.0:
        raise ValueError("Gemm with transA, alpha or beta")
    return F.linear(x, weight if a.get("transB", 0) else weight.T, bias)


def _batch_norm(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return F.batch_norm(x, mean, variance, scale, bias, eps=a.get("epsilon", 1e-5))


def _clip(a: Attributes, x: Tensor, low: Numbers | None = None, high: Numbers | None = None) -> Tensor:
    return x.clamp(a.get("min") if low is None else _number(low), a.get("max") if high is None else _number(high))


def _number(numbers: Numbers) -> float:
    return float(numbers[0] if isinstance(numbers, list) else numbers)


def _cast(_: Attributes, x: Tensor) -> Tensor:
    """Numbers keep the precision the module runs in; whole numbers used as sizes stay whole."""
    return x


def _div(_: Attributes, x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() or y.is_floating_point() else torch.div(x, y, rounding_mode="floor")


def _styled(a: Attributes, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Adaptive instance norm: each channel of each sample to mean 0 and deviation 1, then its own scale and shift.

    One batch norm over N*C channels does it in one kernel, with the statistics in float32 whatever the precision of x:
    the epsilon of 1e-8 would be zero in float16.
    """
    n, c, height, width = x.shape
    flat = x.reshape(1, n * c, height, width)
    weight, bias = (t.expand(n, c, 1, 1).reshape(-1).to(torch.float32) for t in (scale, shift))
    if not x.is_cuda:
        flat = flat.to(torch.float32)
    return F.batch_norm(flat, None, None, weight, bias, training=True, eps=a["epsilon"]).reshape(x.shape).to(x.dtype)


OPS: dict[str, Op] = {
    "Add": lambda _, x, y: x + y,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Conv": _conv,
    "Div": _div,
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "Gather": _gather,
    "Gemm": _gemm,
    "Identity": lambda _, x: x,
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "MatMul": lambda _, x, y: x @ y,
    "MaxPool": _max_pool,
    "Mul": lambda _, x, y: x * y,
    "PRelu": lambda _, x, slope: F.prelu(x, slope.reshape(-1)),
    "Pad": _pad,
    "Pow": lambda _, x, y: x**y,
    "Reciprocal": lambda _, x: x.reciprocal(),
    "ReduceMean": _reduce_mean,
    "Relu": lambda _, x: F.relu(x),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda _, x: torch.tensor(x.shape),
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Slice": _slice,
    "Split": lambda a, x, parts=None: x.split(_list(parts, a.get("split")), a.get("axis", 0)),
    "Sqrt": lambda _, x: x.sqrt(),
    "Squeeze": lambda a, x, axes=None: x.squeeze(tuple(_list(axes, a.get("axes")))),
    "StyledNorm": _styled,
    "Sub": lambda _, x, y: x - y,
    "Tanh": lambda _, x: x.tanh(),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
}
