"""Says in words what fits, what does not, and what it would take."""

from collections.abc import Iterator, Mapping, Sequence

from deployments.plan.arrival import apps, stranded
from deployments.plan.packing import additions
from deployments.plan.placement import Card, Fleet, Placement
from deployments.spec.deployment import CARD_GB, Accelerator, Deployment


def report(fleet: Fleet, placement: Placement) -> str:
    """A table of the cards, then a line for all that has no place."""
    return "\n".join([*_cards(placement), "", *_outcome(fleet, placement), *_order(placement)])


def _cards(placement: Placement) -> Iterator[str]:
    yield f"{'card':<13} {'share':>6} {'peak GB':>8}  holds"
    numbers = dict.fromkeys(CARD_GB, 0)
    for card in placement.cards:
        numbers[card.kind] += 1
        name = f"{card.kind} #{numbers[card.kind]}"
        yield f"{name:<13} {placement.used(card):>6.2f} {placement.used_gb(card):>5.0f}/{CARD_GB[card.kind]:.0f}  {_held(placement, card)}"


def _held(placement: Placement, card: Card) -> str:
    parts = [f"{name} {placement.share(name):g}" for name in card.up]
    parts += [f"room for {name} {placement.share(name):g}" for name in card.rooms]
    return ", ".join(parts) or "nothing"


def _outcome(fleet: Fleet, placement: Placement) -> Iterator[str]:
    declared = placement.declared
    must = [d for d in declared.values() if d.replicas.min]
    yield f"{len(must) - len(placement.left_out)} of {len(must)} models have their minimum of replicas; models asked for more come first."
    for name in placement.left_out:
        yield f"  left out: {name}, which {_needs(placement, declared[name])}"
    if placement.left_out:
        yield f"  to hold every minimum, add {_ways(additions(fleet, must))}"
    for name in placement.no_room:
        yield f"  no room on demand: {name}, which {_needs(placement, declared[name])}"
    if placement.no_room:
        yield f"  to hold every minimum and all models on demand at once, add {_ways(additions(fleet, list(declared.values())))}"
    if placement.left_out or placement.no_room:
        yield "  calls of models without a place go to the mirror where bursting is on, and are refused with 501 where it is not"
    more = [f"{name} +{extra}" for name in placement.kinds if (extra := placement.up(name) - declared[name].replicas.min) > 0]
    yield f"More replicas from the start, by demand: {', '.join(more) or 'none'}."


def _needs(placement: Placement, deployment: Deployment) -> str:
    """What a model without a place asks for, beside the most that is free."""
    asks: list[str] = []
    for kind, share in deployment.gpu.share.items():
        cards = [card for card in placement.cards if card.kind == kind]
        free = max((1 - placement.used(card) for card in cards), default=0.0)
        have = f"the most that is free on one is {free:.2f}" if cards else "there is none"
        asks.append(f"{share:g} of {_a(kind)} ({have})")
    return f"needs {' or '.join(asks)}"


def _ways(ways: Sequence[Mapping[Accelerator, int]]) -> str:
    if not ways:
        return "more cards than the planner tries"
    return ", or ".join(" and ".join(f"{count} × {kind}" for kind, count in way.items()) for way in ways)


def _order(placement: Placement) -> Iterator[str]:
    families = apps(placement)
    lost = stranded(placement, [name for names in families.values() for name in names])
    yield f"Apps start in this order: {', '.join(families)}."
    if lost:
        yield f"  in that order Ray finds no room for {', '.join(lost)}: it waits until a replica beside it goes"


def _a(kind: Accelerator) -> str:
    return f"an {kind}"
