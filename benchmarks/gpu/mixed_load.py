"""Callers that send one call after the other through HTTP, and what came of the calls."""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

PATIENCE_S = 240.0


@dataclass(frozen=True)
class Target:
    """An endpoint, the deployment that answers it, and its callers' body."""

    model: str
    path: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One call: seconds from the load's start to its end, and its own; its status, and the server's words where that is not 200."""

    model: str
    ended: float
    seconds: float
    status: str
    words: str = ""


@dataclass
class Load:
    """Calls to `targets`, each from `callers` at once, for `seconds`; calls in flight at the end are waited for, and not counted."""

    url: str
    key: str
    targets: Sequence[Target]
    callers: int
    seen: list[Call] = field(default_factory=list)

    def run(self, seconds: float) -> list[Call]:
        """All calls that ended in time."""
        began = time.monotonic()
        until = began + seconds
        threads = [
            threading.Thread(target=self._caller, args=(target, began, until)) for target in self.targets for _ in range(self.callers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [call for call in self.seen if call.ended <= seconds]

    def once(self) -> list[Call]:
        """One call to each target, one after the other: what a first call costs."""
        began = time.monotonic()
        with self._client() as client:
            for target in self.targets:
                self.seen.append(call(client, target, 0, began))
        return self.seen

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=PATIENCE_S)

    def _caller(self, target: Target, began: float, until: float) -> None:
        number = 0
        with self._client() as client:
            while time.monotonic() < until:
                number += 1
                self.seen.append(call(client, target, number, began))
                if self.seen[-1].status != "200":
                    time.sleep(1.0)  # a model that is down would be asked without end


def call(client: httpx.Client, target: Target, number: int, began: float) -> Call:
    started = time.monotonic()
    words = ""
    try:
        reply = client.post(target.path, json=dict(target.body) | {"prompt": f"a portrait of a woman in a park, number {number}"})
        status = str(reply.status_code)
        if status != "200":
            words = reply.text[:300]
    except httpx.HTTPError as error:
        status = type(error).__name__
    ended = time.monotonic()
    return Call(target.model, ended - began, ended - started, status, words)


def summary(calls: Sequence[Call], seconds: float) -> dict[str, Any]:
    """Of one model's calls within `seconds`: good and failed ones, good ones a minute, and the good ones' times in seconds."""
    good = sorted(call.seconds for call in calls if call.status == "200")
    found: dict[str, Any] = {"ok": len(good), "failed": len(calls) - len(good), "per_min": round(60 * len(good) / seconds, 2)}
    found |= {"median_s": None, "p95_s": None}
    if good:
        found |= {"median_s": round(statistics.median(good), 2), "p95_s": round(good[min(len(good) - 1, int(0.95 * len(good)))], 2)}
    if found["failed"]:
        found["statuses"] = dict(Counter(call.status for call in calls))
        found["words"] = next((call.words for call in calls if call.words), "")
    return found


class Every:
    """Calls `look` every `seconds` in a thread of its own, until the end of the `with` block; what fails is skipped."""

    def __init__(self, seconds: float, look: Callable[[], None]) -> None:
        self._seconds, self._look = seconds, look
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Every":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self._look()
            except (httpx.HTTPError, ValueError, OSError) as error:
                print(f"skipped: {type(error).__name__}", flush=True)
