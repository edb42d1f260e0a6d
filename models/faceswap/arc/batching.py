"""Graph edits that let the published networks take N faces or frames at once.

Both families are exported with a batch of one written into their constants. The edits touch shapes alone, never weights, and
never the list of initialisers, whose last entry inswapper uses as an extra table. Whether an edited graph is right is
decided by running it (`inswapper.py`, `scrfd_torch.py`), not by reading it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def constants(model: Any) -> dict[str, NDArray[Any]]:
    """Every value of a `ModelProto` that is known before it runs: initialisers and Constant nodes, by name."""
    from onnx import numpy_helper

    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            known[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return known


def with_batch(model: Any) -> Any:
    """Free the first dimension of every input and output of a `ModelProto`, in place; returns it."""
    _free_resizes(model, _spatial_sizes(model))
    _free_reshapes(model)
    _free_io(model)
    return model


def scrfd_with_batch(model: Any) -> Any:
    """Let a SCRFD `ModelProto` take N images and give its outputs as (N, anchors, values), in place; returns it.

    Its heads end in Transpose(2, 3, 0, 1) and Reshape(-1, values), which would mix the images of a batch; the batch has to
    go first in both. insightface's own reader takes such outputs, too.
    """
    with_batch(model)
    known = constants(model)
    moved: set[str] = set()
    for node in list(model.graph.node):
        if node.op_type == "Transpose" and list(node.attribute[0].ints) == [2, 3, 0, 1]:
            node.attribute[0].ints[:] = [0, 2, 3, 1]
            moved.add(node.output[0])
        elif node.op_type == "Sigmoid" and node.input[0] in moved:
            moved.add(node.output[0])
        elif node.op_type == "Reshape" and node.input[0] in moved:
            node.input[1] = _constant(model, node.output[0] + "_batched", np.array([0, -1, known[node.input[1]].ravel()[-1]]))
    for output in model.graph.output:
        values = output.type.tensor_type.shape.dim[-1].dim_value
        output.type.tensor_type.shape.ClearField("dim")
        for dim in ("N", "anchors"):
            output.type.tensor_type.shape.dim.add(dim_param=dim)
        output.type.tensor_type.shape.dim.add(dim_value=values)
    return model


def _free_io(model: Any) -> None:
    for value in [*model.graph.input, *model.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if len(dims) > 0:
            dims[0].ClearField("dim_value")
            dims[0].dim_param = "N"
    model.graph.ClearField("value_info")  # intermediate shapes written down by the exporter, now wrong


def _free_reshapes(model: Any) -> None:
    """Reshape(…, [1, a, b]) keeps its input's first dimension instead (0 means "as it is")."""
    known = constants(model)
    for node in list(model.graph.node):
        if node.op_type != "Reshape":
            continue
        shape = known.get(node.input[1])
        if shape is not None and shape.size > 1 and shape[0] == 1:
            node.input[1] = _constant(model, node.output[0] + "_batched", np.array([0, *shape[1:]]))


def _free_resizes(model: Any, sizes_before: dict[str, tuple[int, ...]]) -> None:
    """Resize to fixed sizes [1, C, H, W] becomes the same resize by factors."""
    known = constants(model)
    for node in list(model.graph.node):
        if node.op_type != "Resize" or len(node.input) < 4 or node.input[0] not in sizes_before:
            continue
        sizes = known.get(node.input[3])
        if sizes is not None and sizes.size == 4:
            height, width = sizes_before[node.input[0]]
            factors = np.array([1, 1, sizes[2] / height, sizes[3] / width], np.float32)
            node.input[2] = _constant(model, node.output[0] + "_factors", factors)
            del node.input[3]


def _spatial_sizes(model: Any) -> dict[str, tuple[int, ...]]:
    """Height and width of every value whose shape ONNX can infer."""
    if not any(node.op_type == "Resize" and len(node.input) > 3 for node in model.graph.node):
        return {}
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(model)
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in inferred.graph.value_info}
    return {name: (shape[2], shape[3]) for name, shape in shapes.items() if len(shape) == 4 and min(shape[2:]) > 0}


def _constant(model: Any, name: str, value: NDArray[Any]) -> str:
    """Put a Constant node first in the graph; an initialiser would push inswapper's table from the last place."""
    from onnx import helper, numpy_helper

    model.graph.node.insert(0, helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name)))
    return name
