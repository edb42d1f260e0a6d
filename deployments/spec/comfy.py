"""A ComfyUI API graph, read for what it would make: its models, prompts, sizes, samplers, pictures and LoRAs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from models.errors import BadRequest

MOST_NODES = 500
Inputs: TypeAlias = Mapping[str, Any]

_MODEL_KEYS = ("unet", "checkpoint", "ckpt", "model")
_NEGATIVE_WORDS = ("negative", "deformed")


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its class in lower case, and its inputs; a link to another node is [id, output]."""

    kind: str
    inputs: Inputs


class Graph:
    """A graph by node id. Raises BadRequest for what is no API graph."""

    def __init__(self, workflow: Mapping[str, Any]) -> None:
        if "nodes" in workflow:
            raise BadRequest("workflow is a graph of ComfyUI's editor; export it with 'Save (API Format)' and send that")
        if not workflow or len(workflow) > MOST_NODES:
            raise BadRequest(f"workflow must hold 1 to {MOST_NODES} nodes, got {len(workflow)}")
        self.nodes = {str(key): _node(str(key), value) for key, value in workflow.items()}

    @property
    def kinds(self) -> str:
        """Classes of all nodes, in one lower-case text to search in."""
        return " ".join(sorted({node.kind for node in self.nodes.values()}))

    @property
    def models(self) -> str:
        """Names of all model files that nodes load, in one lower-case text to search in; LoRAs are not among them."""
        found = {
            value.lower()
            for node in self.nodes.values()
            for key, value in node.inputs.items()
            if isinstance(value, str) and any(part in key.lower() for part in _MODEL_KEYS) and "lora" not in key.lower()
        }
        return " ".join(sorted(found))

    def of_kind(self, *parts: str) -> Iterator[Inputs]:
        """Inputs of the nodes whose class contains any of `parts`, in the graph's order."""
        return (node.inputs for node in self.nodes.values() if any(part in node.kind for part in parts))

    def first(self, key: str, *parts: str, kind: Callable[[Any], bool] | None = None) -> Any:
        """The first value that is no link of input `key` on a node whose class contains any of `parts`; None for none."""
        values = (inputs[key] for inputs in self.of_kind(*parts) if key in inputs and not isinstance(inputs[key], list))
        return next((value for value in values if kind is None or kind(value)), None)

    def prompts(self) -> tuple[str | None, str | None]:
        """The positive and the negative prompt: what the sampler is linked to; without links, told apart by their words."""
        for inputs in self.of_kind("sampler"):
            linked = tuple(self._text_behind(inputs.get(end)) for end in ("positive", "negative"))
            if linked[0] is not None:
                return cast(tuple[str | None, str | None], linked)
        positive = negative = None
        for inputs in self.of_kind("textencode"):
            text = inputs.get("text", inputs.get("prompt"))
            if not isinstance(text, str):
                continue
            if any(word in text.lower() for word in _NEGATIVE_WORDS):
                negative = text
            else:
                positive = text
        return positive, negative

    def _text_behind(self, link: Any) -> str | None:
        """The nearest text upstream of a link, breadth first."""
        waiting, seen = [link], set[str]()
        while waiting:
            link = waiting.pop(0)
            if not isinstance(link, list) or not link or str(link[0]) in seen or str(link[0]) not in self.nodes:
                continue
            seen.add(str(link[0]))
            inputs = self.nodes[str(link[0])].inputs
            for key in ("text", "prompt", "string", "value"):
                if isinstance(inputs.get(key), str):
                    return inputs[key]
            waiting.extend(inputs.values())
        return None


def _node(key: str, value: Any) -> Node:
    if not isinstance(value, dict) or not isinstance(value.get("class_type"), str) or not isinstance(value.get("inputs", {}), dict):
        raise BadRequest(f"workflow node {key!r} has no class_type and inputs; send the graph as ComfyUI's 'Save (API Format)' writes it")
    return Node(value["class_type"].lower(), value.get("inputs", {}))
