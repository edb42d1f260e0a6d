"""The order in which apps start, and whether Ray, which places replicas as they come, then finds the room that the planner found.

Ray gives a replica that asks for part of a card the fullest card that still has it. Small replicas that come first can so leave no card
whole for a large one; when the largest come first, what fits by the plan mostly fits this way too, and `stranded` tells where it does not.
"""

from collections.abc import Sequence

from deployments.plan.placement import Placement


def apps(placement: Placement) -> dict[str, list[str]]:
    """Placed models by app, one app a family, in the order in which they should start: largest replica first."""
    families: dict[str, list[str]] = {}
    for name in sorted(placement.kinds, key=lambda name: (-placement.share(name), name)):
        families.setdefault(placement.declared[name].family, []).append(name)
    return families


def stranded(placement: Placement, order: Sequence[str]) -> list[str]:
    """Replicas that find no room when all that are up from the start arrive in `order`, a model's replicas together."""
    free = {kind: [1.0 for card in placement.cards if card.kind == kind] for kind in set(placement.kinds.values())}
    lost: list[str] = []
    for name in order:
        cards, share = free[placement.kinds[name]], placement.share(name)
        for _ in range(placement.up(name)):
            fitting = [index for index, room in enumerate(cards) if room + 1e-6 >= share]
            if fitting:
                cards[min(fitting, key=cards.__getitem__)] -= share
            else:
                lost.append(name)
    return lost
