"""What a planner decides: the kind of card of each model, what lies on each card, and what had to stay out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployments.spec.deployment import CARD_GB, Accelerator, Deployment

Fleet = Mapping[Accelerator, int]  # cards by kind


@dataclass(frozen=True, slots=True)
class Card:
    """One card. up: a name for each replica that is up from the start. rooms: models that may start here when they are called."""

    kind: Accelerator
    up: tuple[str, ...]
    rooms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything goes.

    kinds: the kind of card of each model that has a place. cards: what they hold, the fullest of a kind first.
    left_out: models without their minimum of replicas. no_room: models with a minimum of none, and no room to start in.
    """

    declared: Mapping[str, Deployment]
    kinds: Mapping[str, Accelerator]
    cards: Sequence[Card]
    left_out: tuple[str, ...]
    no_room: tuple[str, ...]

    def share(self, name: str) -> float:
        """Part of a card that a replica of `name` takes where it was put."""
        return self.declared[name].gpu.share[self.kinds[name]]

    def up(self, name: str) -> int:
        """Replicas of `name` that are up from the start."""
        return sum(card.up.count(name) for card in self.cards)

    def used(self, card: Card, *, rooms: bool = True) -> float:
        """Part of `card` that is given away, 0 to 1."""
        return round(sum(self.share(name) for name in (*card.up, *(card.rooms if rooms else ()))), 3)

    def used_gb(self, card: Card) -> float:
        """Peak memory of what `card` holds, in GB."""
        return sum(self.declared[name].gpu.vram_gb for name in (*card.up, *card.rooms))

    def most(self, name: str) -> int:
        """Most replicas of `name` that its cards hold while every other model has but its minimum, within what it declares."""
        own = self.declared[name]
        copies = 0
        minimum = {other: self.declared[other].replicas.min for other in self.kinds if other != name}
        for card in self.cards:
            if card.kind != self.kinds[name]:
                continue
            taken, taken_gb = 0.0, 0.0
            for other in card.up:
                if minimum.get(other, 0) > 0:
                    minimum[other] -= 1
                    taken, taken_gb = taken + self.share(other), taken_gb + self.declared[other].gpu.vram_gb
            by_share = (1 - taken + 1e-6) // self.share(name)
            copies += int(min(by_share, (CARD_GB[card.kind] - taken_gb + 1e-6) // own.gpu.vram_gb))
        return max(1, min(own.replicas.max, copies))
