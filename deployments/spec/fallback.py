"""What answers in a model's place when neither the cluster nor its mirror can: another vendor's model, or a graph for the legacy pod."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from models.task import Image, TextToImage

MEGAPIXEL: Final = 1024 * 1024

Arguments: TypeAlias = dict[str, Any]  # a JSON object
ApiGraph: TypeAlias = dict[str, dict[str, Any]]  # node id to class_type and inputs, as ComfyUI's 'Save (API Format)' writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class FalModel:
    """A model of fal's. It takes SFW work alone.

    id: as fal calls it ("fal-ai/flux/dev"). arguments: a task → its input there.
    usd_per_megapixel, usd_per_image: its list price, one of the two; megapixels are of 1024 × 1024 and are rounded up, as fal bills them.
    expected_s: a prior for how long it takes, queue and all.
    strict: it refuses harmless words for parts of the body; a prompt that it refuses is sent once more without them.
    """

    id: str
    arguments: Callable[[Any], Arguments]
    usd_per_megapixel: float | None = None
    usd_per_image: float | None = None
    expected_s: float = 8.0
    strict: bool = False

    def __post_init__(self) -> None:
        """Refuse an id that fal's client cannot address, and a price that is missing or given twice."""
        if not re.fullmatch(r"[a-z0-9.-]+(/[a-z0-9.-]+)+", self.id):
            raise ValueError(f"a model of fal's is named owner/model, got {self.id!r}")
        prices = [price for price in (self.usd_per_megapixel, self.usd_per_image) if price is not None]
        if len(prices) != 1 or prices[0] <= 0:
            raise ValueError(f"{self.id}: give one price above 0, per megapixel or per image")

    def usd(self, task: object) -> float:
        """List price of one picture."""
        if self.usd_per_megapixel is None:
            return self.usd_per_image or 0.0
        if not isinstance(task, TextToImage):
            raise ValueError(f"{self.id} has a price per megapixel, and {type(task).__name__} has no size")
        return math.ceil(task.width * task.height / MEGAPIXEL) * self.usd_per_megapixel


def _no_pictures(_: Any) -> tuple[Image, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ComfyWorkflow:
    """A graph for the legacy ComfyUI pod. It takes NSFW work alone.

    kind: what the pod must have nodes and weights for, in a word. graph: a task, and the names under which its pictures were uploaded →
    the graph, whose pictures end in PreviewImage nodes, so that the pod keeps none. pictures: those that the task brings along.
    expected_s: a prior for how long it takes on a card that has the model loaded.
    """

    kind: str
    graph: Callable[[Any, Sequence[str]], ApiGraph]
    pictures: Callable[[Any], tuple[Image, ...]] = _no_pictures
    expected_s: float = 30.0


# Words for parts of the body and what covers them, which strict models refuse in any sense.
BODY_WORDS: Final = (
    "bare bikini body bosom bottom breast breasts bust busty butt buttocks chest cleavage curves curvy hips lingerie naked nude nudity "
    "seductive sensual sexy thigh thighs topless underwear voluptuous"
)
_BODY: Final = re.compile(rf"\b(?:{'|'.join(BODY_WORDS.split())})\b[\s-]*", re.IGNORECASE)
_GAPS: Final = re.compile(r"\s*,(?:\s*,)+|\s{2,}")


def without_body_words(arguments: Mapping[str, Any]) -> Arguments:
    """The same input with `BODY_WORDS` taken out of its prompt."""
    prompt = _GAPS.sub(lambda gap: "," if "," in gap.group() else " ", _BODY.sub("", str(arguments["prompt"]))).strip(" ,")
    return {**arguments, "prompt": prompt}
