"""A bound is a bound, whatever the work does."""

import asyncio
import time

import pytest

from modal_burst.waits import give_up, within

pytestmark = pytest.mark.asyncio


async def deaf():
    """Goes on for a while when it is cancelled."""
    try:
        await asyncio.sleep(1000)
    finally:
        await asyncio.sleep(0.5)


async def test_work_in_time_gives_its_result():
    assert await within(1, asyncio.sleep(0, "x")) == "x"


async def test_an_error_is_raised_as_it_is():
    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await within(1, fail())


async def test_work_that_does_not_heed_its_cancellation_is_left_behind():
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await within(0.05, deaf())
    assert time.monotonic() - began < 0.3
    await asyncio.sleep(0.6)


async def test_whoever_waits_can_be_cancelled_at_once():
    task = asyncio.create_task(within(1000, deaf()))
    await asyncio.sleep(0.01)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 0.3
    await asyncio.sleep(0.6)


async def test_giving_up_what_has_ended_does_nothing():
    done = asyncio.ensure_future(asyncio.sleep(0, "x"))
    await done
    give_up(done)
    assert done.result() == "x"
