"""Where calls go, played through without a cluster: caches of a few slots, loads that cost twice a call."""

import heapq
import random
from collections import OrderedDict, defaultdict

import pytest

from serve.homes import Homes, ranked

LOAD_S, CALL_S, STRAY_AFTER_S = 0.6, 0.3, 4.0


def zipf(count: int, calls: int, seed: int) -> list[str]:
    return random.Random(seed).choices([f"id{n}" for n in range(count)], [1 / (n + 1) for n in range(count)], k=calls)


def wanted(homes: Homes, key: str, replicas: list[str], waited: float) -> list[str]:
    found = homes.of(key, replicas, {})
    return found if waited < STRAY_AFTER_S else [*found, *(r for r in ranked(key, replicas) if r not in found)]


def play(keys: list[str], replicas: list[str], slots: int, concurrency: int) -> tuple[float, dict[str, int], float]:
    """Share of cold calls, calls by replica, and the seconds it all took. Each replica works on one call, and holds `slots` adapters."""
    homes, caches = Homes(slots), {replica: OrderedDict() for replica in replicas}
    free_at, served, cold, now = dict.fromkeys(replicas, 0.0), defaultdict(int), 0, 0.0
    waiting, running, coming = [], [], list(reversed(keys))
    while coming or waiting or running:
        while coming and len(waiting) + len(running) < concurrency:
            waiting.append((now, coming.pop()))
        for replica in [r for r in sorted(replicas, key=lambda r: free_at[r]) if free_at[r] <= now]:
            may = [(since, key) for since, key in waiting if replica in wanted(homes, key, replicas, now - since)]
            if not may:
                continue
            ready = [call for call in may if homes.holds(call[1], replica)]
            since, key = may[0] if now - may[0][0] > STRAY_AFTER_S or not ready else ready[0]
            waiting.remove((since, key))
            homes.sent(key, replica)
            served[replica] += 1
            cache = caches[replica]
            seconds = CALL_S
            if key not in cache:
                cold, seconds = cold + 1, CALL_S + LOAD_S
                cache[key] = True
                if len(cache) > slots:
                    cache.popitem(last=False)
            cache.move_to_end(key)
            free_at[replica] = now + seconds
            heapq.heappush(running, now + seconds)
        now = heapq.heappop(running) if running else now
    return cold / len(keys), served, now


@pytest.mark.parametrize("seed", range(20))
def test_keys_that_fit_are_loaded_once_each(seed):
    replicas = [f"r{seed}a", f"r{seed}b"]
    keys = random.Random(seed).choices([f"id{n}" for n in range(6)], k=100)
    cold, _, _ = play(keys, replicas, slots=3, concurrency=2)
    assert cold == len(set(keys)) / 100


@pytest.mark.parametrize("concurrency", [4, 8])
def test_more_keys_than_slots_stay_mostly_warm_and_balanced(concurrency):
    shares, colds = [], []
    for seed in range(30):
        cold, served, _ = play(zipf(8, 120, seed), [f"r{seed}a", f"r{seed}b"], slots=3, concurrency=concurrency)
        colds.append(cold)
        shares.append(max(served.values()) / 120)
    assert sum(colds) / len(colds) <= 0.25
    assert sum(shares) / len(shares) <= 0.65
    assert max(shares) <= 0.72


def test_a_replica_that_goes_takes_no_other_home_with_it():
    replicas = ["a", "b", "c"]
    homes = Homes(4)
    before = {f"id{n}": homes.of(f"id{n}", replicas, {})[0] for n in range(12)}
    after = {key: homes.of(key, ["a", "b"], {})[0] for key in before}
    assert all(after[key] == home for key, home in before.items() if home != "c")
    assert set(after.values()) == {"a", "b"}


def test_a_key_goes_where_it_is_known_to_be():
    homes = Homes(3)
    first = ranked("id", ["a", "b"])[0]
    other = "b" if first == "a" else "a"
    assert homes.of("id", ["a", "b"], {other: ("id",)}) == [other]


def test_a_stray_call_moves_its_key():
    homes = Homes(3)
    [home] = homes.of("id", ["a", "b"], {})
    other = "b" if home == "a" else "a"
    homes.sent("id", other)
    assert homes.of("id", ["a", "b"], {}) == [other]


def test_what_is_remembered_is_bounded():
    homes = Homes(3)
    for number in range(10_000):
        homes.of(f"id{number}", ["a", "b"], {})
        homes.sent(f"id{number}", "a")
    assert len(homes._home) <= 4096
    assert len(homes._calls) <= 2
