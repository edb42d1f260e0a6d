"""Shows identity tokens to a Flux transformer while it runs: PuLID's cross-attentions hung behind its blocks by forward hooks."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from models.errors import WeightsMissing

_EVERY_DOUBLE = 2
_EVERY_SINGLE = 4


@dataclass(frozen=True, slots=True)
class Worn:
    """The faces of one run.

    tokens: (passes, B, N, D), identity tokens of each pass of a step: the prompt's, then with true CFG the negative one.
    weights: (B, 1, 1), strength an item.
    first, last: the steps, counted from 0, in which the faces show; `last` is the first one without.
    """

    tokens: Any
    weights: Any
    first: int
    last: int


class Injection:
    """Hooks on a transformer, hung once and idle until `wearing`.

    They stay on for good, so that compiled blocks know them; attach them after LoRA slots and IP-Adapters, and before compiling.
    """

    def __init__(self, transformer: Any, attentions: Any) -> None:
        self.attentions = attentions
        self._worn: Worn | None = None
        self._step = 0
        self._pass = 0
        self._shown: tuple[Any, Any] | None = None  # tokens and weights of the running pass; all that compiled blocks look at
        places = [*transformer.transformer_blocks[::_EVERY_DOUBLE], *transformer.single_transformer_blocks[::_EVERY_SINGLE]]
        if len(places) != len(attentions):
            raise WeightsMissing(f"PuLID's file has {len(attentions)} cross-attentions, this transformer has room for {len(places)}")
        transformer.register_forward_pre_hook(self._begin_pass)
        for block, attention in zip(places, attentions, strict=True):
            block.register_forward_hook(self._show(attention))

    @contextmanager
    def wearing(self, worn: Worn) -> Generator[None]:
        """Show the faces of `worn` to the runs inside; nothing is left behind, whatever happens."""
        self._worn = worn
        self.finished(0)
        try:
            yield
        finally:
            self._worn = self._shown = None

    def finished(self, steps: int) -> None:
        """Tell how many steps are done: the next one begins with its first pass."""
        self._step, self._pass = steps, 0

    def _begin_pass(self, module: Any, inputs: Any) -> None:
        worn = self._worn
        if worn is not None:
            self._shown = (worn.tokens[self._pass], worn.weights) if worn.first <= self._step < worn.last else None
            self._pass += 1

    def _show(self, attention: Any) -> Any:
        def hook(module: Any, inputs: Any, output: tuple[Any, Any]) -> tuple[Any, Any] | None:
            if self._shown is None:
                return None
            (tokens, weights), (text, image) = self._shown, output
            return text, image + weights * attention(tokens, image)

        return hook
