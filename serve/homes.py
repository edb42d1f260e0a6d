"""Which replica is home to what: every routing key has one home, picked by rendezvous hashing under a bound on what a replica is home to.

Plain hashing sends six keys to two replicas three and three in one case of three, and where it does not, one of them reloads again and
again. So a replica takes a new key only while its slots have room and it has no more than its share of the calls; and a key moves from a
replica that is asked far more often than another, once that is more than chance.
"""

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

OVERLOAD: Final = 1.25  # a replica with this many times the mean of recent calls is given no new key
FORGET_AFTER: Final = 4096  # keys remembered
SIGNIFICANT: Final = 3.0  # standard deviations by which two replicas must differ before a key moves
SETTLE: Final = 8  # calls between two moves of a key, so that each can show its effect
WINDOW: Final = 64  # calls that count as recent, by replica


class Homes:
    """Homes of keys. slots: keys that a replica can hold at once without reloading."""

    def __init__(self, slots: int) -> None:
        self._slots = max(1, slots)
        self._home: OrderedDict[str, str] = OrderedDict()  # key → replica, least recently asked first
        self._last: dict[str, OrderedDict[str, None]] = {}  # the keys that a replica was last sent: what its slots hold
        self._calls: Counter[str] = Counter()  # recent calls by replica, and
        self._asked: Counter[str] = Counter()  # by key
        self._settle = 0  # calls until the next key may move

    def of(self, key: str, replicas: Sequence[str], held: Mapping[str, Iterable[str]]) -> list[str]:
        """The home of `key` among `replicas`, and then those that hold it too; `held` says what each replica is known to have in memory."""
        holders = [replica for replica in ranked(key, replicas) if key in self._last.get(replica, ()) or key in held.get(replica, ())]
        home = self._home.get(key)
        if home is None or home not in replicas:
            home = holders[0] if holders else self._choose(key, replicas)
            self._home[key] = home
        elif (other := self._relief(key, home, replicas)) is not None:
            home = self._home[key] = other
        self._home.move_to_end(key)
        if len(self._home) > FORGET_AFTER:
            self._home.popitem(last=False)
        return [home, *(replica for replica in holders if replica != home)]

    def holds(self, key: str, replica: str) -> bool:
        """Whether `replica` was sent `key` lately, so that it need not load it."""
        return key in self._last.get(replica, ())

    def sent(self, key: str, replica: str) -> None:
        """A call of `key` went to `replica`; where it had to be loaded for that is its home from now on."""
        last = self._last.setdefault(replica, OrderedDict())
        if key not in last:
            self._home[key] = replica
        last[key] = None
        last.move_to_end(key)
        if len(last) > self._slots:
            last.popitem(last=False)
        self._calls[replica] += 1
        self._asked[key] += 1
        self._settle -= 1
        if sum(self._calls.values()) >= WINDOW * len(self._calls):
            self._calls = Counter({name: count // 2 for name, count in self._calls.items() if count > 1})
            self._asked = Counter({name: count // 2 for name, count in self._asked.items() if count > 1})
            self._last = {name: keys for name, keys in self._last.items() if name in self._calls}

    def _relief(self, key: str, home: str, replicas: Sequence[str]) -> str | None:
        """The least busy replica, when `key` moves there to even out the calls, and is not so hot that it would turn the tables."""
        idle = min(replicas, key=lambda replica: self._calls[replica])
        gap = self._calls[home] - self._calls[idle]
        is_chance = gap < SIGNIFICANT * (self._calls[home] + self._calls[idle]) ** 0.5
        if is_chance or self._settle > 0 or not gap / 8 <= self._asked[key] <= gap / 2:
            return None
        self._settle = SETTLE
        return idle

    def _choose(self, key: str, replicas: Sequence[str]) -> str:
        order = ranked(key, replicas)
        homed = Counter(self._home[name] for name in list(self._home)[-self._slots * len(replicas) :])
        roomy = [replica for replica in order if homed[replica] < self._slots] or order
        mean = sum(self._calls[replica] for replica in replicas) / len(replicas)
        calm = [replica for replica in roomy if self._calls[replica] <= OVERLOAD * mean]
        return calm[0] if calm else min(roomy, key=lambda replica: self._calls[replica])


def ranked(key: str, replicas: Sequence[str]) -> list[str]:
    """Replicas by rendezvous hashing: every process finds the same order, and a replica that comes or goes moves its own keys alone."""
    return sorted(replicas, key=lambda replica: hashlib.blake2b(f"{key}|{replica}".encode(), digest_size=8).digest())
