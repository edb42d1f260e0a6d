"""Where a deployment is looked for, and who waits for whom at the start."""

import asyncio
import threading
from typing import Any, cast

import pytest

from deployments import deployments
from deployments.plan.serve_config import GATEWAY
from models.errors import Overloaded
from serve import apps
from serve.cluster import Handle


def test_in_production_a_deployment_is_in_its_familys_app_and_on_a_laptop_in_the_one_app():
    for declared in deployments().values():
        assert apps.app_of(declared.name, GATEWAY) == declared.family
        assert apps.app_of(declared.name, next(iter(deployments().values())).family) == declared.family
        assert apps.app_of(declared.name, "ryla") == "ryla"


def test_families_are_named_as_the_folders_of_models():
    families = {declared.family for declared in deployments().values()}
    assert {"flux", "qwen-image", "wan", "faceswap"} <= families
    assert all(name.replace("-", "").isalnum() for name in families)


class Cards:
    """Cards of a cluster that are taken one after the other, a quarter at each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, taken_in_the_end: float) -> None:
        self.looks, self.waited = 0, 0.0
        monkeypatch.setattr(apps.ray, "cluster_resources", lambda: {"GPU": 4.0})
        monkeypatch.setattr(apps.ray, "available_resources", lambda: {"GPU": 4.0 - min(taken_in_the_end, 0.25 * self.looks)})
        monkeypatch.setattr(apps.time, "monotonic", lambda: self.waited)
        monkeypatch.setattr(apps.time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.looks += 1
        self.waited += seconds


def test_an_app_waits_until_the_cards_before_it_are_taken(monkeypatch: pytest.MonkeyPatch):
    cards = Cards(monkeypatch, 4.0)
    apps.wait_for_cards(1.5)
    assert cards.looks == 6


def test_the_first_app_does_not_wait(monkeypatch: pytest.MonkeyPatch):
    cards = Cards(monkeypatch, 0.0)
    apps.wait_for_cards(0.0)
    assert cards.looks == 0


def test_an_app_that_never_gets_its_cards_does_not_hold_up_the_others_for_ever(monkeypatch: pytest.MonkeyPatch):
    cards = Cards(monkeypatch, 1.0)
    apps.wait_for_cards(1.5)
    assert cards.waited == pytest.approx(apps.PATIENCE_S)


class Found:
    """A handle, as far as looking it up goes."""

    def options(self) -> "Found":
        return self


async def test_the_loop_goes_on_while_a_handle_is_looked_up():
    loop_went_on = threading.Event()

    def find(_: str) -> Handle:
        assert loop_went_on.wait(20), "the loop waits for the look-up"
        return cast(Any, Found())

    looking = asyncio.create_task(apps.Handles(find)("m"))
    asyncio.get_running_loop().call_later(0.01, loop_went_on.set)
    assert isinstance(await looking, Found)


async def test_all_callers_share_one_handle_and_a_failed_look_up_is_made_anew():
    answers: list[Any] = [Found(), Found(), Overloaded("not up yet")]

    def find(_: str) -> Handle:
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    handles = apps.Handles(find)
    with pytest.raises(Overloaded):
        await handles("m")
    one, other = await asyncio.gather(handles("m"), handles("m"))
    assert one is other
    assert await handles("m") is one
