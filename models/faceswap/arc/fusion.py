"""A graph's operators as plain data, without dead ones, and with inswapper's adaptive instance norm as one operator.

The exported graph spells that norm as nine small operators. In half precision its epsilon (1e-8) is zero and its squares
overflow; as one operator it can keep its statistics in float32.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One operator call: its kind, and the names of what it reads ("" for an input left out) and makes."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])


def operations(model: Any) -> list[Operation]:
    """The operators of a `ModelProto` in order, constants left out."""
    from onnx import helper

    return [
        Operation(
            node.op_type, tuple(node.input), tuple(node.output), {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
        )
        for node in model.graph.node
        if node.op_type != "Constant"
    ]


def live(ops: Sequence[Operation], outputs: Sequence[str]) -> list[Operation]:
    """Those operators that the outputs depend on, in order."""
    wanted, kept = set(outputs), list[Operation]()
    for op in reversed(ops):
        if wanted.intersection(op.outputs):
            wanted.update(op.inputs)
            kept.append(op)
    return kept[::-1]


def fuse_styled_norms(ops: Sequence[Operation], known: Mapping[str, Any]) -> list[Operation]:
    """Replace the last operator of each (x - mean) / sqrt(var + eps) * scale + shift by one StyledNorm; the rest falls dead."""
    makers = {name: op for op in ops for name in op.outputs}
    return [_styled_norm(op, makers, known) or op for op in ops]


def _styled_norm(op: Operation, makers: Mapping[str, Operation], known: Mapping[str, Any]) -> Operation | None:
    if op.kind != "Add":
        return None
    for scaled, shift in _both_ways(op):
        mul = makers.get(scaled)
        if mul is None or mul.kind != "Mul":
            continue
        for normal, scale in _both_ways(mul):
            found = _normalised(normal, makers, known)
            if found is not None:
                x, epsilon = found
                return Operation("StyledNorm", (x, scale, shift), op.outputs, {"epsilon": epsilon})
    return None


def _normalised(name: str, makers: Mapping[str, Operation], known: Mapping[str, Any]) -> tuple[str, float] | None:
    """What is normalised over height and width, and its epsilon, if `name` is such a value."""
    for centred, deviation in _quotients(name, makers, known):
        sub, root = makers.get(centred), makers.get(deviation)
        if sub is None or sub.kind != "Sub" or root is None or root.kind != "Sqrt":
            continue
        mean, add = makers.get(sub.inputs[1]), makers.get(root.inputs[0])
        if mean is None or not _is_mean_of(mean, sub.inputs[0], known) or add is None or add.kind != "Add":
            continue
        for variance, epsilon in _both_ways(add):
            average = makers.get(variance)
            if average is None or epsilon not in known or known[epsilon].size != 1:
                continue
            square = makers.get(average.inputs[0])
            if square is not None and _is_square_of(square, centred, known) and _is_mean_of(average, square.outputs[0], known):
                return sub.inputs[0], float(known[epsilon].item())
    return None


def _quotients(name: str, makers: Mapping[str, Operation], known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Ways in which `name` is a / b, written a / b, a * (1 / b) or a * reciprocal(b)."""
    op = makers.get(name)
    if op is None or op.kind not in ("Div", "Mul"):
        return []
    if op.kind == "Div":
        return [(op.inputs[0], op.inputs[1])]
    ways: list[tuple[str, str]] = []
    for a, inverse in _both_ways(op):
        by = makers.get(inverse)
        if by is not None and by.kind == "Reciprocal":
            ways.append((a, by.inputs[0]))
        if by is not None and by.kind == "Div" and by.inputs[0] in known and (known[by.inputs[0]] == 1).all():
            ways.append((a, by.inputs[1]))
    return ways


def _is_mean_of(op: Operation, x: str, known: Mapping[str, Any]) -> bool:
    if op.kind != "ReduceMean" or op.inputs[0] != x or op.attributes.get("keepdims", 1) != 1:
        return False
    axes = known[op.inputs[1]].tolist() if len(op.inputs) > 1 and op.inputs[1] in known else op.attributes.get("axes", ())
    return sorted(axis % 4 for axis in axes) == [2, 3]


def _is_square_of(op: Operation, x: str, known: Mapping[str, Any]) -> bool:
    if op.kind == "Mul":
        return op.inputs == (x, x)
    return op.kind == "Pow" and op.inputs[0] == x and op.inputs[1] in known and bool((known[op.inputs[1]] == 2).all())


def _both_ways(op: Operation) -> tuple[tuple[str, str], tuple[str, str]]:
    first, second = op.inputs
    return (first, second), (second, first)


def _plain(value: Any) -> Any:
    """ONNX strings arrive as bytes."""
    return value.decode() if isinstance(value, bytes) else value
