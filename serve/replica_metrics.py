"""What a replica tells about itself: the card's time it holds and uses, its steps, memory, LoRAs, and how fast it stops."""

import os
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from models.errors import OutOfMemory
from models.host import Result, RunnerHost
from models.lora.stack import LoraStack
from models.runner import Fact, Finished, Frames, Progress
from serve import metrics
from serve.metrics import SAMPLE_S, Record, every, record

LEAST_S = 1e-6


class Watch:
    """One call on a replica. The replica tells it what passes."""

    def __init__(self, card_share: float) -> None:
        self.arrived = time.perf_counter()
        self.begun: float | None = None
        self.lora_seconds: float | None = None
        self.tier = ""
        self.finished: Finished | None = None
        self._share = card_share

    def loras(self, facts: Mapping[str, Fact]) -> None:
        """The call's LoRAs are in memory."""
        if facts.get("lora_tier"):
            self.tier, self.lora_seconds = str(facts["lora_tier"]), time.perf_counter() - self.arrived

    def saw(self, event: Progress | Frames | Result | Finished) -> None:
        """An event of the call passed by."""
        if self.begun is None:
            self.begun = time.perf_counter()
        if isinstance(event, Result | Finished):
            self.finished = event.stages[-1] if isinstance(event, Result) else event
            if self.lora_seconds is not None:
                self.finished.seconds["lora"] = self.lora_seconds  # so that the gateway sees it among the stages

    def busy_s(self) -> float:
        """Whole-card seconds of the call: as billed, or for a call that was stopped, since its first sign of work."""
        if self.finished is not None:
            return self.finished.busy_s * self._share
        return 0.0 if self.begun is None else (time.perf_counter() - self.begun) * self._share


class ReplicaMetrics:
    """Of one replica, of `model`. began: when its process started to load, on `time.perf_counter`'s clock."""

    def __init__(self, model: str, host: RunnerHost, loras: LoraStack | None, began: float, write: Record = record) -> None:
        self._model = model
        self._host = host
        self._loras = loras
        self._write = write
        self._offered_until = began
        self._steps: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        self._kept: set[str] = set()
        write(metrics.COLD_STARTS, 1, model=model)
        write(metrics.LOAD_SECONDS, max(time.perf_counter() - began, LEAST_S), model=model)

    def start(self) -> None:
        """Begin to sample."""
        every(SAMPLE_S, self.sample)

    @contextmanager
    def call(self) -> Generator[Watch]:
        """Watch one call to its end."""
        watch = Watch(self._host.card.share)
        try:
            yield watch
        except OutOfMemory:
            self._write(metrics.OOMS, 1, model=self._model, card=self._host.card.name)
            raise
        finally:
            self._ended(watch)

    def _ended(self, watch: Watch) -> None:
        outcome = "stopped" if watch.finished is None else "done"
        self._write(metrics.BUSY_SECONDS, watch.busy_s(), model=self._model, card=self._host.card.name, outcome=outcome)
        if watch.lora_seconds is not None:
            self._write(metrics.LORA_SECONDS, max(watch.lora_seconds, LEAST_S), model=self._model, tier=watch.tier)
        if watch.finished is None:
            return
        for stage, steps in watch.finished.steps.items():
            if steps > 0 and watch.finished.seconds.get(stage, 0.0) > 0:
                self._write(metrics.STEP_SECONDS, watch.finished.seconds[stage] / steps, model=self._model, stage=stage)
        self._write(metrics.BATCH_SIZE, float(watch.finished.facts.get("batch", 1)), model=self._model)

    def sample(self) -> None:
        """Write what grows or changes without a call."""
        model, card = self._model, self._host.card
        now = time.perf_counter()
        self._write(metrics.OFFERED_SECONDS, (now - self._offered_until) * card.share, model=model, card=card.name)
        self._offered_until = now
        self._write(metrics.REPLICAS, 1, model=model, card=card.name)
        self._write(metrics.RUNNING, self._host.running, model=model)
        self._write(metrics.RSS_BYTES, _rss_bytes(), model=model)
        for kind, value in _vram_bytes(card.share).items():
            self._write(metrics.VRAM_BYTES, value, model=model, kind=kind)
        self._grown(metrics.STEPS, "stage", self._host.steps, self._steps)
        while self._host.stops_s:
            self._write(metrics.STOP_SECONDS, max(self._host.stops_s.popleft(), LEAST_S), model=model)
        if self._loras is not None:
            self._grown(metrics.LORAS_FOUND, "tier", self._loras.tiers.found, self._found)
            kept = set(self._loras.tiers.kept())
            self._write(metrics.LORAS_KEPT, len(kept), model=model)
            self._write(metrics.LORA_EVICTIONS, len(self._kept - kept), model=model)
            self._kept = kept

    def _grown(self, metric: metrics.Declared, label: str, counts: Mapping[str, int], told: Counter[str]) -> None:
        """Add to a counter what `counts` has gained since it was last told."""
        for name, count in dict(counts).items():
            self._write(metric, count - told[name], model=self._model, **{label: name})
            told[name] = count


def _rss_bytes() -> float:
    """Resident memory of this process. 0 where there is no /proc."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0.0


def _vram_bytes(share: float) -> dict[str, float]:
    """Memory of the card, by kind; nothing without one."""
    from models.acceleration import default_device, vram_bytes

    return vram_bytes(share) if default_device() == "cuda" else {}
