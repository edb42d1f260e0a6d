"""The cards that are owned: which replicas sit on them, how they are moved to where the work is, and the lines before them."""

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deployments.spec.deployment import Deployment

SPEED = {"L40S": 1.0, "A100-80GB": 1.6}  # of diffusion, by dense bf16 throughput and memory bandwidth
FULL, SLACK = 0.75, 0.5  # load of a model's replicas above which it gets another, and under which it may lose one
LORA_LOAD_S = 1.5
SMOOTH = 0.5  # weight of the last interval in the measured load


@dataclass(slots=True)
class Card:
    """One card and the models on it, by how many replicas."""

    kind: str
    free: float = 1.0
    held: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Line:
    """One model's replicas. free: a heap of (when it is free, its card's number); work: card-seconds asked for in this interval."""

    declared: Deployment
    free: list[tuple[float, int]] = field(default_factory=list)
    capacity: float = 0.0  # card-seconds of an L40S a second
    work: float = 0.0
    load: float = 0.0
    loras: "OrderedDict[int, None]" = field(default_factory=OrderedDict)

    def wait(self, now: float) -> float:
        """Seconds until a replica is free; for ever when there is none."""
        return max(0.0, self.free[0][0] - now) if self.free else float("inf")

    def lora_load(self, lora: int) -> float:
        """Seconds to bring a LoRA to where it is needed: none while one of the replicas holds it."""
        if lora < 0 or self.declared.lora_slots == 0:
            return 0.0
        if lora in self.loras:
            self.loras.move_to_end(lora)
            return 0.0
        self.loras[lora] = None
        while len(self.loras) > self.declared.lora_slots * max(1, len(self.free)):
            self.loras.popitem(last=False)
        return LORA_LOAD_S


class Fleet:
    """Owned cards. `busy` tells the card-seconds worked by kind of card."""

    def __init__(self, counts: Mapping[str, int], declared: Mapping[str, Deployment], demand: Mapping[str, float]) -> None:
        self.counts = dict(counts)
        self.cards = [Card(kind) for kind, count in counts.items() for _ in range(count)]
        self.lines = {name: Line(d, load=demand.get(name, 0.0)) for name, d in declared.items()}
        self.busy = dict.fromkeys(counts, 0.0)
        self._recent = dict.fromkeys(counts, 0.0)
        self._crowd = dict.fromkeys(counts, 0.5)
        wanted = [name for name, asked in demand.items() if asked > 0]
        for name in sorted(wanted, key=lambda name: -demand[name]):  # each once, then by load
            self._place(name, 0.0)
        while any(self._place(name, 0.0) for name in sorted(wanted, key=self._pressure, reverse=True)):
            pass
        self.rebalance(0.0, 1.0, moves=len(self.cards))

    def serve(self, name: str, now: float, work_s: float) -> tuple[float, float]:
        """Run `work_s` seconds of an L40S's work on the replica that is free first. Returns when it begins and ends."""
        line = self.lines[name]
        free, number = line.free[0]
        card = self.cards[number]
        share = line.declared.gpu.share[card.kind]
        begins = max(now, free)
        card_s = work_s / SPEED[card.kind]
        ends = begins + card_s / (share + (1 - share) * (1 - self._crowd[card.kind]))  # neighbours take their part while they work
        heapq.heapreplace(line.free, (ends, number))
        self.busy[card.kind] += card_s
        self._recent[card.kind] += card_s
        return begins, ends

    def rebalance(self, now: float, interval_s: float, moves: int | None = None) -> None:
        """Give crowded models another replica, from models that have slack if need be. What moves must load first."""
        for line in self.lines.values():
            line.load += SMOOTH * (line.work / interval_s - line.load) if now else 0.0
            line.work = 0.0
        for kind, count in self.counts.items():
            if count and now:
                self._crowd[kind] = min(1.0, self._recent[kind] / (count * interval_s))
            self._recent[kind] = 0.0
        for _ in range(moves if moves is not None else max(2, len(self.cards) // 4)):
            crowded = sorted((name for name in self.lines if self._pressure(name) >= FULL), key=self._pressure, reverse=True)
            if not any(self._place(name, now) or self._evict_for(name, now) for name in crowded):
                return

    def _pressure(self, name: str) -> float:
        line = self.lines[name]
        return line.load / line.capacity if line.free else 1e3 * (line.load > 0)

    def _place(self, name: str, now: float) -> bool:
        """Put a replica on the first card of the preferred kind that has room."""
        declared = self.lines[name].declared
        cold_s = declared.burst.cold_start_s if declared.burst and now else 0.0
        for kind, share in declared.gpu.share.items():
            for number, card in enumerate(self.cards):
                if card.kind == kind and card.free >= share - 1e-9:
                    card.free -= share
                    card.held[name] = card.held.get(name, 0) + 1
                    heapq.heappush(self.lines[name].free, (now + cold_s, number))
                    self.lines[name].capacity += share * SPEED[kind]
                    return True
        return False

    def _evict_for(self, name: str, now: float) -> bool:
        """Free a card of models with slack until the replica has room; False when no card can be freed."""
        shares = self.lines[name].declared.gpu.share
        for number, card in enumerate(self.cards):
            if card.kind in shares:
                donors = [other for other in card.held if other != name and self._can_give(other, number)]
                room = card.free + sum(self.lines[other].declared.gpu.share[card.kind] for other in donors)
                if room >= shares[card.kind] - 1e-9:
                    for other in donors:
                        if card.free < shares[card.kind] - 1e-9:
                            self._remove(other, number)
                    return self._place(name, now)
        return False

    def _can_give(self, name: str, number: int) -> bool:
        line, card = self.lines[name], self.cards[number]
        left = line.capacity - line.declared.gpu.share[card.kind] * SPEED[card.kind]
        return line.load <= SLACK * left if left > 1e-9 else line.load < 1e-4

    def _remove(self, name: str, number: int) -> None:
        line, card = self.lines[name], self.cards[number]
        entry = min(entry for entry in line.free if entry[1] == number)
        line.free.remove(entry)
        heapq.heapify(line.free)
        card.free += line.declared.gpu.share[card.kind]
        line.capacity -= line.declared.gpu.share[card.kind] * SPEED[card.kind]
        card.held[name] -= 1
        if not card.held[name]:
            del card.held[name]


def whole_cards(demand: Mapping[str, float], declared: Mapping[str, Deployment], kinds: Iterable[str]) -> dict[str, float]:
    """Cards that the mean work fills, by the kind each model prefers."""
    filled = dict.fromkeys(kinds, 0.0)
    for name, asked in demand.items():
        kind = next(iter(declared[name].gpu.share))
        filled[kind] += asked / SPEED[kind]
    return filled
