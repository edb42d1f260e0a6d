"""An ONNX graph as a torch module, read by following its data: for GPUs, where it runs in half precision and CUDA graphs."""

from dataclasses import dataclass
from typing import Any

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from models.errors import NotConfigured
from models.faceswap.arc.batching import constants
from models.faceswap.arc.fusion import Operation, fuse_styled_norms, live, operations
from models.faceswap.arc.onnx_ops import NUMBERS, OPS, Op


@dataclass(frozen=True, slots=True)
class _Step:
    """One operator call. An argument is the name of a value, or a list of numbers, or None for an input left out."""

    op: Op
    attributes: dict[str, Any]
    arguments: tuple[str | list[Any] | None, ...]
    outputs: tuple[str, ...]
    done_with: tuple[str, ...]  # values that no later step reads


class OnnxTorch(nn.Module):
    """Runs the graph of a `ModelProto`; inputs and outputs are in the graph's order. Weights are buffers, so `to` moves them.

    Raises NotConfigured for a graph with an operator that is not known here.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        known = constants(model)
        self._inputs = tuple(v.name for v in model.graph.input if v.name not in known)
        self._outputs = tuple(v.name for v in model.graph.output)
        ops = live(fuse_styled_norms(operations(model), known), self._outputs)
        unknown = sorted({op.kind for op in ops} - OPS.keys())
        if unknown:
            raise NotConfigured(f"the graph {model.graph.name!r} uses {', '.join(unknown)}, which the torch reader does not know")
        self._steps = _steps(ops, known, keep=set(self._outputs))
        self._whole: dict[str, Tensor] = {}
        self._buffer_of: dict[str, str] = {}
        named = {a for step in self._steps for a in step.arguments if isinstance(a, str)}
        for i, name in enumerate(sorted(named & known.keys())):
            tensor = torch.from_numpy(known[name].copy())
            if tensor.is_floating_point():
                self._buffer_of[name] = f"weight_{i}"
                self.register_buffer(f"weight_{i}", tensor.to(torch.float32))
            else:
                self._whole[name] = tensor

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs of the graph for its inputs, which are on the module's device and in its precision."""
        values: dict[str, Any] = {**self._whole, **dict(zip(self._inputs, inputs, strict=True))}
        for name, buffer in self._buffer_of.items():
            values[name] = getattr(self, buffer)
        for step in self._steps:
            result = step.op(step.attributes, *(values[a] if isinstance(a, str) else a for a in step.arguments))
            if len(step.outputs) == 1:
                values[step.outputs[0]] = result
            else:
                values.update(zip(step.outputs, result, strict=True))
            for name in step.done_with:
                del values[name]
        return tuple(values[name] for name in self._outputs)


def _steps(ops: list[Operation], known: dict[str, Any], keep: set[str]) -> tuple[_Step, ...]:
    last_use = {name: i for i, op in enumerate(ops) for name in op.inputs}
    made = {name for op in ops for name in op.outputs}
    steps: list[_Step] = []
    for i, op in enumerate(ops):
        arguments: list[str | list[Any] | None] = []
        for position, name in enumerate(op.inputs):
            if name in known and position in NUMBERS.get(op.kind, ()):
                numbers = known[name].ravel().tolist()
                arguments.append(numbers or None)  # an empty constant stands for an input left out
            else:
                arguments.append(name or None)
        done = tuple(sorted({n for n in op.inputs if n in made and last_use[n] == i and n not in keep}))
        steps.append(_Step(OPS[op.kind], op.attributes, tuple(arguments), op.outputs, done))
    return tuple(steps)
