"""The one slot for adapters on a pipeline, over every linear layer, that LoRAs are copied into.

One slot serves several LoRAs, stacked along the rank. The room for them never changes, so a swap is a copy and a compiled model keeps
its graphs; strengths live in the matrices for the same reason.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from models.errors import LoraRejected
from models.lora.adapter import Adapter
from models.lora.base import Base, base_of

Worn: TypeAlias = tuple[tuple[str, float], ...]  # key and strength of each LoRA, in order


class Slot:
    """An open slot on one pipeline. `worn` is what it holds, on or off; None after a copy that failed halfway, until the next one."""

    def __init__(self, pipe: Any, rank: int) -> None:
        from models.lora.layer import LoraLinear

        self.base: Base = base_of(pipe, rank)
        self.worn: Worn | None = ()
        self._branches = {name: LoraLinear.at(pipe, name).branch(rank) for name in self.base.layers}

    @property
    def dtype(self) -> Any:
        """Number format of the matrices."""
        return next(iter(self._branches.values())).down.dtype

    def put_on(self, worn: Worn, adapters: Sequence[Adapter]) -> None:
        """Wear exactly these adapters; without any the slot is off, and keeps what it holds.

        Raises LoraRejected before anything is changed.
        """
        self._check(adapters)
        if worn and worn != self.worn:
            self.worn = None
            for name, branch in self._branches.items():
                branch.fill([(a.matrices[name], s) for a, (_, s) in zip(adapters, worn, strict=True) if name in a.matrices])
            self.worn = worn
        self._switch(bool(worn))

    def _check(self, adapters: Sequence[Adapter]) -> None:
        """The ranks of a layer must add up to no more than the slot's. Each adapter was checked against the base when it was read."""
        for name in {name for adapter in adapters for name in adapter.matrices}:
            ranks = [adapter.matrices[name][0].shape[0] for adapter in adapters if name in adapter.matrices]
            if sum(ranks) > self.base.rank:
                added = " + ".join(map(str, ranks))
                raise LoraRejected(f"these LoRAs have ranks {added}, together at most {self.base.rank} can be worn; ask for fewer at once")

    def _switch(self, on: bool) -> None:
        """Put all layers into the model or take them out, also those that these LoRAs do not change.

        So a compiled model has one graph with LoRAs and one without, whatever they are.
        """
        for branch in self._branches.values():
            branch.switch(on)
