"""The one adapter slot on a pipeline, over every linear layer, that LoRAs are copied into.

One slot serves several LoRAs: stacked along the rank axis, A = [A1; A2] and B = [s1·B1, s2·B2] act as their sum. Shapes never change,
so a swap is a copy and a compiled model keeps its graphs; strengths live in B for the same reason.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from models.errors import LoraRejected
from models.lora.adapter import Adapter
from models.lora.base import Base, base_of, components

NAME = "slot"
Worn: TypeAlias = tuple[tuple[str, float], ...]  # key and strength of each LoRA, in order


class Slot:
    """An open slot on one pipeline. `worn` is what it holds; None after a copy that failed halfway, until the next one."""

    def __init__(self, pipe: Any, rank: int) -> None:
        from peft import LoraConfig

        self.base: Base = base_of(pipe, rank)
        self.worn: Worn | None = ()
        self._layers: dict[str, Any] = {}
        self._filled: dict[str, int] = {}  # rank in use, by layer; above it both matrices are zero
        for part in components(pipe):
            model = getattr(pipe, part)
            targets = [name.removeprefix(part + ".") for name in self.base.layers if name.startswith(part + ".")]
            model.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets, init_lora_weights=False), NAME)
            self._layers |= {f"{part}.{name}": model.get_submodule(name) for name in targets}
        for layer in self._layers.values():
            for matrix in (layer.lora_A[NAME].weight, layer.lora_B[NAME].weight):
                matrix.requires_grad_(False).zero_()
        self._switch(False)

    @property
    def dtype(self) -> Any:
        """Number format of the matrices."""
        return next(iter(self._layers.values())).lora_A[NAME].weight.dtype

    def put_on(self, worn: Worn, adapters: Sequence[Adapter]) -> None:
        """Wear exactly these adapters. Raises LoraRejected before anything is changed."""
        self._check(adapters)
        if worn != self.worn:
            self.worn = None
            for name, layer in self._layers.items():
                self._fill(name, layer, [(a.matrices[name], s) for a, (_, s) in zip(adapters, worn, strict=True) if name in a.matrices])
            self.worn = worn
        self._switch(bool(worn))

    def _check(self, adapters: Sequence[Adapter]) -> None:
        """The ranks of a layer must add up to no more than the slot's. Each adapter was checked against the base when it was read."""
        for name in {name for adapter in adapters for name in adapter.matrices}:
            ranks = [adapter.matrices[name][0].shape[0] for adapter in adapters if name in adapter.matrices]
            if sum(ranks) > self.base.rank:
                added = " + ".join(map(str, ranks))
                raise LoraRejected(f"these LoRAs have ranks {added}, together at most {self.base.rank} can be worn; ask for fewer at once")

    def _fill(self, name: str, layer: Any, parts: Sequence[tuple[tuple[Any, Any], float]]) -> None:
        import torch

        down, up = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
        before, end = self._filled.get(name, 0), 0
        self._filled[name] = max(before, sum(a.shape[0] for (a, _), _ in parts))  # true even if a copy fails
        with torch.no_grad():
            for (a, b), strength in parts:
                begin, end = end, end + a.shape[0]
                down[begin:end].copy_(a)
                up[:, begin:end].copy_(b if strength == 1 else b.float() * strength)
            if before > end:
                down[end:before].zero_()
                up[:, end:before].zero_()
        self._filled[name] = end

    def _switch(self, on: bool) -> None:
        """Without LoRAs the layers pass the slot by: the plain model costs nothing. A compiled model has a graph for either."""
        for layer in self._layers.values():
            if layer.disable_adapters == on:
                layer.enable_adapters(on)
                layer.requires_grad_(False)
