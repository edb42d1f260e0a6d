import threading
import time
from contextlib import ExitStack

import pytest

from models.errors import LoraRejected
from models.lora.adapter import Adapter
from models.lora.tiers import Tiers


@pytest.fixture
def adapter():
    import torch

    return lambda: Adapter({"x": (torch.zeros(2, 3), torch.zeros(4, 2))})  # 56 bytes


def loads(*keys, make, tier="disk", log=None):
    def load(key):
        if log is not None:
            log.append(key)
        return make(), tier

    return {key: lambda key=key: load(key) for key in keys}


def use(tiers, *keys, make, log=None):
    with tiers.hold(loads(*keys, make=make, log=log)) as found:
        for key in keys:
            tiers.on_device(key)
        return found


def test_what_was_loaded_is_found_in_the_fastest_tier_that_has_it(adapter):
    tiers = Tiers("cpu", slots=1, ram_bytes=120)
    assert use(tiers, "a", make=adapter) == {"a": "disk"}
    assert use(tiers, "a", make=adapter) == {"a": "vram"}
    use(tiers, "b", make=adapter)
    assert use(tiers, "a", make=adapter) == {"a": "ram"}  # pushed out of its slot by b
    use(tiers, "b", "c", make=adapter)
    assert use(tiers, "a", make=adapter) == {"a": "disk"}  # and out of RAM by c
    assert tiers.found == {"disk": 4, "vram": 1, "ram": 2}


def test_what_is_held_is_never_evicted_and_the_rest_is_once_it_is_free(adapter):
    tiers, log = Tiers("cpu", slots=1, ram_bytes=0), []
    with ExitStack() as calls:
        for key in "abc":
            calls.enter_context(tiers.hold(loads(key, make=adapter, log=log)))
            tiers.on_device(key)
        assert set(tiers.kept()) == {"a", "b", "c"}
        assert tiers.on_device("a") is tiers.on_device("a")
    assert len(tiers.kept()) == 1
    assert log == ["a", "b", "c"]


def test_those_who_want_the_same_adapter_share_one_load(adapter):
    tiers, log = Tiers("cpu", slots=2, ram_bytes=1000), []

    def slow():
        log.append("load")
        time.sleep(0.2)
        return adapter(), "cold"

    def want():
        with tiers.hold({"a": slow}):
            tiers.on_device("a")

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log == ["load"]
    assert tiers.found == {"cold": 1, "ram": 7}


def test_different_adapters_load_at_the_same_time(adapter):
    tiers, both = Tiers("cpu", slots=2, ram_bytes=1000), threading.Barrier(2, timeout=5)

    def meet():
        both.wait()
        return adapter(), "disk"

    threads = [threading.Thread(target=use_one, args=(tiers, key, meet)) for key in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not both.broken
    assert set(tiers.kept()) == {"a", "b"}


def use_one(tiers, key, load):
    with tiers.hold({key: load}):
        pass


def test_a_load_that_fails_leaves_nothing_and_costs_nobody_an_adapter(adapter):
    tiers = Tiers("cpu", slots=1, ram_bytes=0)
    use(tiers, "a", make=adapter)

    def fail():
        raise LoraRejected("no")

    with pytest.raises(LoraRejected), tiers.hold({"b": fail}):
        pass
    assert tiers.kept() == ["a"]
    assert use(tiers, "a", make=adapter) == {"a": "vram"}
    assert use(tiers, "b", make=adapter) == {"b": "disk"}  # and it may be tried again
    with pytest.raises(LoraRejected), tiers.hold(loads("a", make=adapter) | {"c": fail}):
        pass
    assert not tiers._holders
