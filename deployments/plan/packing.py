"""Packs replicas onto cards: vector bin packing (shares and memory) by OR-Tools' CP-SAT, in order of what matters.

First every model's minimum, the models most asked for if not all fit; then a room for each model that may scale to none; then the kinds of
card that models prefer; last, more replicas where the demand is. Each goal is solved to its optimum and kept while the next is sought.
A model lives on one kind of card: a replica asks Ray for a fixed part of a card, and the parts differ by kind.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from deployments.plan.placement import Card, Fleet, Placement
from deployments.spec.deployment import CARD_GB, Accelerator, Deployment

PARTS: Final = 1000  # of a card and of a GB; CP-SAT counts in whole numbers
WEIGHT: Final = 10_000
MOST_ADDED: Final = 12
LIMIT_S: Final = 20.0  # for each goal; fleets of some ten cards take well under a second


def pack(fleet: Fleet, declared: Sequence[Deployment], demand: Mapping[str, float]) -> Placement:
    """The best placement of `declared` on `fleet`. demand: GPU seconds asked of each model, in any unit; a model not named has none.

    Raises ValueError for a fleet or a demand that makes no sense.
    """
    if any(count < 0 for count in fleet.values()) or sum(fleet.values()) == 0:
        raise ValueError(f"a fleet needs at least one card and no negative number of any, got {dict(fleet)}")
    if unknown := set(demand) - {d.name for d in declared}:
        raise ValueError(f"demand names {sorted(unknown)}, which nobody declares")
    if wrong := {name: value for name, value in demand.items() if value < 0 or not math.isfinite(value)}:
        raise ValueError(f"demand must be finite and at least 0, got {wrong}")
    total = sum(demand.values()) or 1.0
    return _Packing(fleet, declared, {d.name: demand.get(d.name, 0.0) / total for d in declared}).solve()


def additions(fleet: Fleet, declared: Sequence[Deployment]) -> list[dict[Accelerator, int]]:
    """The fewest cards to add to `fleet` so that each of `declared` has its minimum, and at least one replica; every way to add so few.

    Empty when nothing needs to be added, or when MOST_ADDED are not enough.
    """
    for more in range(MOST_ADDED + 1):
        ways: list[dict[Accelerator, int]] = [{"L40S": more - a100, "A100-80GB": a100} for a100 in range(more + 1)]
        found = [way for way in ways if _holds({kind: fleet.get(kind, 0) + way.get(kind, 0) for kind in CARD_GB}, declared)]
        if found:
            return [{kind: count for kind, count in way.items() if count} for way in found if more]
    return []


def _holds(fleet: Fleet, declared: Sequence[Deployment]) -> bool:
    return sum(fleet.values()) > 0 and _Packing(fleet, declared, {d.name: 0.0 for d in declared}).holds_all()


class _Packing:
    """The model of one question, and its goals."""

    def __init__(self, fleet: Fleet, declared: Sequence[Deployment], demand: Mapping[str, float]) -> None:
        from ortools.sat.python import cp_model

        self._cp = cp_model
        self._model: Any = cp_model.CpModel()
        self._declared = {d.name: d for d in declared}
        self._demand = demand
        self._cards: list[Accelerator] = [kind for kind, count in fleet.items() for _ in range(count)]
        self._on: dict[tuple[str, Accelerator], Any] = {}
        self._copies: dict[tuple[str, int], Any] = {}
        self._has: dict[tuple[str, int], Any] = {}  # whether a model has at least so many replicas
        for deployment in declared:
            self._place(deployment)
        self._fit()

    def solve(self) -> Placement:
        """Goal after goal."""
        minimum = [(d.name, k) for d in self._declared.values() for k in range(1, d.replicas.min + 1)]
        rooms = [(d.name, 1) for d in self._declared.values() if d.replicas.min == 0]
        self._goal(sum(self._worth(name) * self._has[name, k] for name, k in minimum))
        self._goal(sum(self._worth(name) * self._has[name, k] for name, k in rooms))
        self._goal(-sum(rank * on for d in self._declared.values() for rank, on in self._ranked(d)))
        more = [key for key in self._has if key not in minimum and key not in rooms]
        self._goal(sum(round(WEIGHT * self._demand[name] / k) * self._has[name, k] for name, k in more))
        return self._placement(self._goal(-sum((card + 1) * copies for (_, card), copies in self._copies.items())))

    def holds_all(self) -> bool:
        """Whether every model can have its minimum, and at least one replica, at the same time."""
        for deployment in self._declared.values():
            self._model.add(self._has[deployment.name, max(1, deployment.replicas.min)] == 1)
        return self._solver().solve(self._model) in (self._cp.OPTIMAL, self._cp.FEASIBLE)

    def _place(self, deployment: Deployment) -> None:
        """Variables of one model: its kind of card, its replicas on each, and how many there are."""
        name, most = deployment.name, max(1, deployment.replicas.max if deployment.replicas.min else 1)
        kinds = deployment.gpu.share
        for kind in kinds:
            self._on[name, kind] = self._model.new_bool_var(f"{name} on {kind}")
        self._model.add_at_most_one(self._on[name, kind] for kind in kinds)
        for card, kind in enumerate(self._cards):
            if kind in kinds:
                fitting = min(most, int(1 / kinds[kind] + 1e-6))
                self._copies[name, card] = self._model.new_int_var(0, fitting, f"{name} at {card}")
                self._model.add(self._copies[name, card] <= fitting * self._on[name, kind])
        steps = [self._model.new_bool_var(f"{name} has {k}") for k in range(1, most + 1)]
        self._has |= {(name, k): step for k, step in enumerate(steps, 1)}
        for less, more in pairwise(steps):
            self._model.add_implication(more, less)
        self._model.add(sum(steps) == sum(copies for (of, _), copies in self._copies.items() if of == name))
        self._model.add(steps[0] >= sum(self._on[name, kind] for kind in kinds))  # no kind without a replica

    def _fit(self) -> None:
        """What a card holds is within the card, in share and in memory."""
        for card, kind in enumerate(self._cards):
            here = [(self._declared[name], copies) for (name, at), copies in self._copies.items() if at == card]
            self._model.add(sum(math.ceil(d.gpu.share[kind] * PARTS - 1e-6) * copies for d, copies in here) <= PARTS)
            self._model.add(sum(math.ceil(d.gpu.vram_gb * PARTS) * copies for d, copies in here) <= int(CARD_GB[kind] * PARTS))

    def _worth(self, name: str) -> int:
        """Of a replica that must be there: as good as any other, and the better the more it is asked for."""
        return WEIGHT * len(self._declared) + round(WEIGHT * self._demand[name])

    def _ranked(self, deployment: Deployment) -> list[tuple[int, Any]]:
        return [(rank, self._on[deployment.name, kind]) for rank, kind in enumerate(deployment.gpu.share)]

    def _goal(self, value: Any) -> Any:
        """Seek the most of `value`, and hold on to it. Returns the solution."""
        solver = self._solver()
        if isinstance(value, int):  # nothing to decide
            value = self._model.new_constant(value)
        self._model.maximize(value)
        if solver.solve(self._model) not in (self._cp.OPTIMAL, self._cp.FEASIBLE):
            raise RuntimeError(f"CP-SAT found no placement at all: {solver.status_name()}")
        self._model.add(value >= round(solver.objective_value))
        return solver

    def _solver(self) -> Any:
        solver: Any = self._cp.CpSolver()
        solver.parameters.max_time_in_seconds = LIMIT_S
        solver.parameters.num_workers = 1  # the same question has the same answer
        return solver

    def _placement(self, solver: Any) -> Placement:
        counts = {key: solver.value(copies) for key, copies in self._copies.items() if solver.value(copies)}
        cards: list[Card] = []
        for number, kind in enumerate(self._cards):
            held = [name for (name, at), count in counts.items() if at == number for _ in range(count)]
            held.sort(key=lambda name: (-self._declared[name].gpu.vram_gb, name))
            up = tuple(name for name in held if self._declared[name].replicas.min)
            cards.append(Card(kind, up, tuple(name for name in held if name not in up)))
        missing = [d for d in self._declared.values() if not solver.value(self._has[d.name, max(1, d.replicas.min)])]
        return Placement(
            declared=self._declared,
            kinds={name: kind for (name, kind), on in self._on.items() if solver.value(on)},
            cards=cards,
            left_out=tuple(d.name for d in missing if d.replicas.min),
            no_room=tuple(d.name for d in missing if not d.replicas.min),
        )
