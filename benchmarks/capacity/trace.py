"""A day of traffic: generated, or the operator's own."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DAY_S = 86_400
TROUGH, PEAK_HOUR = 0.35, 20.0  # the quietest hour as a part of the mean, and the busiest hour of the day
BURSTS, BURST_S, BURST_FACTOR = 6, 600.0, 2.5  # times a day that traffic jumps, for how long, and by how much at most
TOGETHER = (1, 2, 4)  # calls that one user sends at once, by equal parts of the users
LORAS, ZIPF = 500, 1.1


@dataclass(frozen=True, slots=True)
class Trace:
    """Calls in order. at: seconds since midnight; endpoint: index into the paths; lora: which one, -1 for none."""

    paths: tuple[str, ...]
    at: NDArray[np.float64]
    endpoint: NDArray[np.int16]
    lora: NDArray[np.int32]

    @property
    def days(self) -> float:
        """How long it is, in days, at least one."""
        return max(1.0, math.ceil(self.at[-1] / DAY_S)) if len(self.at) else 1.0


def generate(calls: int, paths: Sequence[str], shares: Sequence[float], takes_lora: Sequence[bool], seed: int = 0) -> Trace:
    """About `calls` calls: a daily wave, jumps of some minutes, users who send several at once, LoRAs by Zipf's law."""
    rng = np.random.default_rng(seed)
    minutes = np.arange(DAY_S // 60)
    rate = 1 + (1 - TROUGH) * np.cos((minutes / 60 - PEAK_HOUR) / 24 * 2 * math.pi)
    for start in rng.uniform(0, DAY_S, BURSTS):
        during = (minutes * 60 >= start) & (minutes * 60 < start + BURST_S)
        rate[during] *= rng.uniform(1.5, BURST_FACTOR)
    users = rng.poisson(rate / rate.sum() * calls / np.mean(TOGETHER))
    at = np.repeat(minutes * 60.0, users) + rng.uniform(0, 60, users.sum())
    together = rng.choice(TOGETHER, len(at))
    endpoint = rng.choice(len(paths), len(at), p=np.asarray(shares) / sum(shares))
    at, endpoint = np.repeat(at, together), np.repeat(endpoint, together)
    order = np.argsort(at, kind="stable")
    at, endpoint = at[order], endpoint[order]
    weights = 1 / np.arange(1, LORAS + 1) ** ZIPF
    lora = np.where(np.asarray(takes_lora)[endpoint], rng.choice(LORAS, len(at), p=weights / weights.sum()), -1)
    return Trace(tuple(paths), at, endpoint.astype(np.int16), lora.astype(np.int32))


def read(file: Path, paths: Sequence[str]) -> Trace:
    """A CSV with the columns seconds (since midnight of the first day), endpoint (a path), and lora (a name, may be missing)."""
    index, loras, rows = {path: number for number, path in enumerate(paths)}, dict[str, int](), list[tuple[float, int, int]]()
    with file.open(newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            path = "/" + row["endpoint"].lstrip("/")
            if path not in index:
                raise SystemExit(f"{file}, line {number}: {path!r} is none of {', '.join(paths)}")
            lora = row.get("lora") or ""
            rows.append((float(row["seconds"]), index[path], loras.setdefault(lora, len(loras)) if lora else -1))
    rows.sort()
    at, endpoint, lora = zip(*rows, strict=True) if rows else ((), (), ())
    return Trace(tuple(paths), np.array(at, float), np.array(endpoint, np.int16), np.array(lora, np.int32))
