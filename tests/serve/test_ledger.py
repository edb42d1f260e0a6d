"""The ledger that gateways share, without Ray: what the actor does with the calls it is told of."""

import pytest

from serve.ledger import SILENT_S, Backlog, Ledger

pytestmark = pytest.mark.asyncio


class Place:
    def __init__(self, slots: int = 1) -> None:
        self.now = 0.0
        self.ledger = Ledger(lambda _: slots, lambda: self.now)


async def test_gateways_stand_in_one_line():
    ledger = Place().ledger
    first = await ledger.admit("a", "m", 10)
    second = await ledger.admit("b", "m", 4)
    assert await ledger.seconds_ahead("m") == 14
    assert await ledger.seconds_ahead("m", second) == 10
    assert await ledger.backlog() == {"m": Backlog(14, 2, 1)}
    await ledger.done("a", first)
    assert await ledger.backlog() == {"m": Backlog(4, 1, 1)}
    await ledger.done("b", second)
    await ledger.done("b", second)
    assert await ledger.backlog() == {}


async def test_work_that_was_done_counts_no_more():
    place = Place()
    await place.ledger.admit("a", "m", 10)
    place.now = 4
    assert await place.ledger.backlog() == {"m": Backlog(6, 1, 1)}


async def test_the_calls_of_a_gateway_that_died_are_forgotten_and_no_others():
    place = Place()
    await place.ledger.admit("dead", "m", 10)
    place.now = SILENT_S
    await place.ledger.admit("live", "m", 5)
    assert (await place.ledger.backlog())["m"].calls == 2
    place.now = SILENT_S + 1
    assert await place.ledger.backlog() == {"m": Backlog(5, 1, 1)}


async def test_a_gateway_that_says_it_lives_keeps_its_calls():
    place = Place()
    await place.ledger.admit("a", "m", 10)
    for _ in range(5):
        place.now += SILENT_S
        place.ledger.beat("a")
    assert (await place.ledger.backlog())["m"].calls == 1
