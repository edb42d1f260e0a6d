import pytest

from serve.outstanding import OutstandingHere

pytestmark = pytest.mark.asyncio


class Place:
    def __init__(self, slots: int) -> None:
        self.now, self.slots = 0.0, slots
        self.ledger = OutstandingHere(lambda _: self.slots, lambda: self.now)


async def test_the_wait_is_that_of_the_first_slot_to_be_free():
    place = Place(2)
    ahead = place.ledger.seconds_ahead
    assert await ahead("m") == 0
    await place.ledger.admit("m", 10)
    assert await ahead("m") == 0
    short = await place.ledger.admit("m", 4)
    assert await ahead("m") == 4
    third = await place.ledger.admit("m", 3)
    assert await ahead("m") == 7
    assert await ahead("m", third) == 4
    assert await ahead("m", short) == 0
    assert await ahead("other") == 0
    place.now = 3
    assert await ahead("m") == 4
    await place.ledger.done(short)
    await place.ledger.done(short)
    assert await ahead("m") == 3
    assert await ahead("m", third) == 0


async def test_a_call_that_is_overdue_is_thought_to_need_a_tenth_of_what_it_has_taken():
    place = Place(1)
    await place.ledger.admit("m", 10)
    place.now = 9.5
    assert await place.ledger.seconds_ahead("m") == 1
    place.now = 500
    assert await place.ledger.seconds_ahead("m") == 50


async def test_slots_that_come_shorten_the_wait():
    place = Place(1)
    leases = [await place.ledger.admit("m", 10) for _ in range(4)]
    assert await place.ledger.seconds_ahead("m") == 40
    place.slots = 2
    assert await place.ledger.seconds_ahead("m", leases[1]) == 0
    assert await place.ledger.seconds_ahead("m") == 20
