"""Adapters in two tiers of memory, GPU and RAM, each with its own LRU. Safe with many threads.

What somebody holds is never evicted; a load comes before the eviction it causes; two who want the same adapter share one load; a load
that fails leaves nothing behind.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Literal, TypeAlias

from models.lora.adapter import Adapter

Tier: TypeAlias = Literal["worn", "vram", "ram", "disk", "cold"]
ORDER: Sequence[Tier] = ("worn", "vram", "ram", "disk", "cold")  # from fastest to slowest
Load: TypeAlias = Callable[[], tuple[Adapter, Tier]]


class Tiers:
    """Adapters by key. slots: adapters kept on the device; ram_bytes: memory for adapters beside it."""

    def __init__(self, device: str, slots: int, ram_bytes: int) -> None:
        self.found: Counter[str] = Counter()  # how often an adapter was found in each tier
        self._device = device
        self._slots = slots
        self._ram_bytes = ram_bytes
        self._lock = threading.Lock()
        self._holders: Counter[str] = Counter()
        self._vram: OrderedDict[str, Adapter] = OrderedDict()
        self._ram: OrderedDict[str, Adapter] = OrderedDict()
        self._loading: dict[str, Future[Adapter]] = {}

    def kept(self) -> list[str]:
        """Adapters that are in memory."""
        with self._lock:
            return list(dict.fromkeys([*self._vram, *self._ram]))

    @contextmanager
    def hold(self, loads: Mapping[str, Load]) -> Generator[dict[str, Tier]]:
        """Inside, these adapters are in memory and stay; says where each was found. Raises what loading raises."""
        held: dict[str, Tier] = {}
        try:
            for key, load in loads.items():
                held[key] = self._take(key, load)
            self.found.update(held.values())
            yield held
        finally:
            with self._lock:
                for key in held:
                    self._holders[key] -= 1
                self._holders += Counter()  # drops what nobody holds
                self._evict()

    def on_device(self, key: str) -> Adapter:
        """A held adapter, on the device."""
        with self._lock:
            known = self._vram.get(key)
            if known is not None:
                self._vram.move_to_end(key)
                return known
            source = self._ram[key]
        copied = source.to(self._device)
        with self._lock:
            self._vram[key] = copied
            self._evict()
        return copied

    def _take(self, key: str, load: Load) -> Tier:
        with self._lock:
            self._holders[key] += 1
            if key in self._vram:
                self._vram.move_to_end(key)
                return "vram"
            if key in self._ram:
                self._ram.move_to_end(key)
                return "ram"
            others = self._loading.get(key)
            mine = Future[Adapter]()
            if others is None:
                self._loading[key] = mine
        try:
            if others is not None:
                others.result()
                return "ram"
            return self._load(key, load, mine)
        except BaseException:
            with self._lock:
                self._holders[key] -= 1
            raise

    def _load(self, key: str, load: Load, mine: "Future[Adapter]") -> Tier:
        try:
            adapter, tier = load()
        except BaseException as error:
            with self._lock:
                del self._loading[key]
            mine.set_exception(error)
            raise
        with self._lock:
            self._ram[key] = adapter
            del self._loading[key]
            self._evict()
        mine.set_result(adapter)
        return tier

    def _evict(self) -> None:
        """Drop the least recently used that nobody holds, down to the limits. Called with the lock held."""
        for key in [key for key in self._vram if not self._holders[key]]:
            if len(self._vram) <= self._slots:
                break
            del self._vram[key]
        taken = sum(adapter.bytes for adapter in self._ram.values())
        for key in [key for key in self._ram if not self._holders[key]]:
            if taken <= self._ram_bytes:
                break
            taken -= self._ram.pop(key).bytes
