"""A linear layer with LoRAs beside it, which stands in the model only while one of them acts."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch  # noqa: TID253
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

_ALIGNED = 8  # matrix kernels want sides that are multiples of this
_MARK = "_with_loras"


class Branch:
    """Room for LoRAs of one layer: several, stacked along the rank as A = [A1; A2] and B = [s1·B1, s2·B2], act as their sum.

    down: (rank, in). up: (out, rank). Both are zero from `filled` on. on: whether it acts.
    """

    def __init__(self, layer: "LoraLinear", rank: int) -> None:
        like = layer.weight
        self._layer = layer
        self.down = torch.zeros(rank, layer.in_features, dtype=like.dtype, device=like.device)
        self.up = torch.zeros(layer.out_features, rank, dtype=like.dtype, device=like.device)
        self.filled = 0
        self.on = False

    def fill(self, parts: Sequence[tuple[tuple[Tensor, Tensor], float]]) -> None:
        """Hold exactly these pairs of matrices, (r, in) and (out, r), each at its strength; ranks add up to at most `rank`."""
        before, end = self.filled, 0
        self.filled = max(before, sum(a.shape[0] for (a, _), _ in parts))  # true even if a copy fails
        with torch.no_grad():
            for (a, b), strength in parts:
                begin, end = end, end + a.shape[0]
                self.down[begin:end].copy_(a)
                self.up[:, begin:end].copy_(b if strength == 1 else b.float() * strength)
            if before > end:
                self.down[end:before].zero_()
                self.up[:, end:before].zero_()
        self.filled = end

    def switch(self, on: bool) -> None:
        """Let it act or not."""
        if on != self.on:
            self.on = on
            self._layer.stand()

    def matrices(self) -> tuple[Tensor, Tensor]:
        """The part of them that is not zero. All of them while a model is compiled: its graph must fit every LoRA."""
        if torch.compiler.is_compiling():
            return self.down, self.up
        end = min(-(-self.filled // _ALIGNED) * _ALIGNED, self.down.shape[0])
        return self.down[:end], self.up[:, :end]


class LoraLinear(nn.Linear):
    """A linear layer plus the sum of up·down·x over its branches that act (Hu et al., "LoRA", 2021, arXiv:2106.09685).

    It shares the weights of the plain layer and takes its place in the model while a branch acts, so that the plain model costs nothing:
    diffusers walks the whole tree of modules several times a step, and a wrapper that stays, as PEFT's does, makes it nine modules larger
    at each layer.
    """

    def __init__(self, parent: nn.Module, name: str, plain: nn.Linear) -> None:
        nn.Module.__init__(self)  # not Linear's own, which would make weights
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.weight, self.bias = plain.weight, plain.bias
        self._branches: list[Branch] = []
        self._acting: tuple[Branch, ...] = ()
        self._name = name
        self._tree = (parent, plain)  # in a tuple, or torch would count them as parts of this layer

    @classmethod
    def at(cls, owner: Any, path: str) -> "LoraLinear":
        """That of the layer at `path` below a model or a pipeline; everyone who asks gets the same one."""
        *above, name = path.split(".")
        parent = reduce(getattr, above, owner)
        plain = getattr(parent, name)
        assert isinstance(plain, nn.Linear), f"{path} is {type(plain).__name__}"
        if isinstance(plain, LoraLinear):
            return plain
        if _MARK not in plain.__dict__:
            plain.__dict__[_MARK] = cls(parent, name, plain)  # past torch's own setter, which would make it a part of the plain layer
        return plain.__dict__[_MARK]

    def branch(self, rank: int) -> Branch:
        """A new branch, empty and off."""
        self._branches.append(Branch(self, rank))
        return self._branches[-1]

    def stand(self) -> None:
        """Stand in the model if a branch acts, else let the plain layer stand there."""
        self._acting = tuple(one for one in self._branches if one.on)
        parent, plain = self._tree
        setattr(parent, self._name, self if self._acting else plain)

    def forward(self, input: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        output = F.linear(input, self.weight, self.bias).contiguous()  # as it is already, but what follows would be lost in a copy
        flat = output.view(-1, self.out_features)
        for branch in self._acting:
            if torch.compiler.is_compiling() or branch.filled:
                down, up = branch.matrices()
                flat.addmm_(F.linear(input, down).reshape(-1, down.shape[0]), up.t())  # one kernel, and no second output in memory
        return output
