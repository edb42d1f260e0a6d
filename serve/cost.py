"""What a call costs: the seconds a card worked on it, times the card's rate, times the share of the card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.runner import Finished


@dataclass(frozen=True, slots=True)
class Bill:
    """Cost of one call. gpu_seconds are whole-card seconds: a quarter of a card for 4 s is 1."""

    usd: float
    gpu_seconds: float
    gpu: str


def bill(stages: Sequence[Finished], rates: Mapping[str, float]) -> Bill:
    """Add up the stages of a call. A card without a rate is charged as an L40S, as it always was."""
    usd = sum(s.busy_s * s.card.share * rates.get(s.card.name, rates["L40S"]) if s.usd is None else s.usd for s in stages)
    return Bill(
        usd=round(usd, 6),
        gpu_seconds=sum(s.busy_s * s.card.share for s in stages),
        gpu="+".join(dict.fromkeys(s.card.name for s in stages)),
    )
