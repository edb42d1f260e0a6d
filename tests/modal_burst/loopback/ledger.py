"""What everything cost, as the platform would bill it: whole container lives, at the card's rate."""

from collections.abc import Mapping

from tests.modal_burst.loopback.state import State

# USD per second; independent records of the platform's price list of autumn 2026.
RATES: Mapping[str, float] = {
    "L4": 0.000222,
    "A10": 0.000306,
    "L40S": 0.000542,
    "A100-40GB": 0.000583,
    "A100-80GB": 0.000694,
    "H100": 0.001097,
    "H200": 0.001261,
    "CPU": 0.0000131,
}


class Ledger:
    """Adds up seconds and money."""

    def __init__(self, state: State, rates: Mapping[str, float] = RATES) -> None:
        self._state = state
        self.rates = rates

    @property
    def container_seconds(self) -> float:
        return sum(container.seconds for container in self._state.containers.values())

    @property
    def container_usd(self) -> float:
        """The bill: start-up, work and idling of every container."""
        return sum(container.seconds * self.rates[container.card] for container in self._state.containers.values())

    @property
    def input_usd(self) -> float:
        """The part of the bill in which an input was being worked on."""
        return sum(item.seconds * self.rates[item.container.card] for item in self._state.history if item.container is not None)
