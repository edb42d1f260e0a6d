"""What a LoRA must fit: the linear layers of a loaded pipeline, as plain data that can be written down."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Base:
    """The layers of a model that LoRAs may change.

    converter: the diffusers class that knows this family's LoRA formats. layers: (out, in) by "module.layer", as in
    "transformer.blocks.0.attn1.to_q". rank: of the slot; the ranks of all LoRAs worn at once may not add up to more.
    """

    converter: str
    layers: Mapping[str, tuple[int, int]]
    rank: int

    def to_json(self) -> str:
        """This base as text."""
        return json.dumps({"converter": self.converter, "rank": self.rank, "layers": self.layers})

    @classmethod
    def from_json(cls, text: str) -> "Base":
        """The base in `text`."""
        data = json.loads(text)
        return cls(data["converter"], {name: (shape[0], shape[1]) for name, shape in data["layers"].items()}, data["rank"])


def components(pipe: Any) -> list[str]:
    """Names of the models of `pipe` that LoRAs may change, in diffusers' order."""
    return [name for name in pipe._lora_loadable_modules if getattr(pipe, name, None) is not None]


def base_of(pipe: Any, rank: int) -> Base:
    """The base that `pipe` is, for a slot of `rank`. Called before adapters go on."""
    layers = {f"{part}.{name}": shape for part in components(pipe) for name, shape in linear_layers(getattr(pipe, part))}
    converter = next(kind.__name__ for kind in type(pipe).__mro__ if "lora_state_dict" in vars(kind))
    return Base(converter, layers, rank)


def linear_layers(model: Any) -> Iterable[tuple[str, tuple[int, int]]]:
    """Name and (out, in) of each linear layer."""
    import torch

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            yield name, (module.out_features, module.in_features)
