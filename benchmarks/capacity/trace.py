"""A day of traffic: generated, or the operator's own."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    """Calls in order. at: seconds since midnight; endpoint: index into the paths; lora: which one, -1 for none.

    measured: seconds of an L40S's work of each stage, by path, where the trace tells them.
    """

    paths: tuple[str, ...]
    at: NDArray[np.float64]
    endpoint: NDArray[np.int16]
    lora: NDArray[np.int32]
    measured: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])

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


def read(file: Path, stages: Mapping[str, int]) -> Trace:
    """A CSV with the columns seconds (since midnight of the first day), endpoint (a path), and two that may be missing.

    lora: a name. work_s: seconds of an L40S's work, of both stages of a chain as "35+125"; an endpoint's mean replaces what is published.
    stages: how many each known path has. Raises SystemExit that names the line of an unknown path, or of numbers that are none.
    """
    paths, loras = dict[str, int](), dict[str, int]()
    rows, works = list[tuple[float, int, int]](), dict[str, list[list[float]]]()
    with file.open(newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            path = "/" + (row.get("endpoint") or "").lstrip("/")
            if path not in stages:
                raise SystemExit(f"{file}, line {number}: endpoint {path!r} is none of {', '.join(stages)}")
            try:
                at, work = float(row["seconds"]), [float(part) for part in (row.get("work_s") or "").split("+") if part]
            except (KeyError, ValueError) as error:
                raise SystemExit(f"{file}, line {number}: seconds and work_s must be numbers ({error})") from error
            if work and (len(work) != stages[path] or min(work) <= 0):
                raise SystemExit(f"{file}, line {number}: work_s of {path} must be {stages[path]} positive numbers joined by +, got {work}")
            lora = row.get("lora") or ""
            rows.append((at, paths.setdefault(path, len(paths)), loras.setdefault(lora, len(loras)) if lora else -1))
            if work:
                works.setdefault(path, []).append(work)
    if not rows:
        raise SystemExit(f"{file} holds no calls")
    rows.sort()
    at, endpoint, lora = zip(*rows, strict=True)
    measured = {path: tuple(float(mean) for mean in np.mean(found, axis=0)) for path, found in works.items()}
    return Trace(tuple(paths), np.array(at, float), np.array(endpoint, np.int16), np.array(lora, np.int32), measured)
