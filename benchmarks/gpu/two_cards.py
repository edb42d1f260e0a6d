"""Two models that share one card and a third on another, driven over HTTP through Serve: each sharing model alone, then all at once.

    python -m benchmarks.gpu.two_cards --out FOLDER       # two CUDA cards, 60 GB of /dev/shm or disk; under ten minutes
    python -m benchmarks.gpu.two_cards --smoke            # toy checkpoints on the CPU and short phases, to see that it runs

Random weights at the published architectures, in the store of the `full` profile. One card stands for an A100 (80 GB), the other for an
L40S (48 GB): each replica asks Ray for the memory that it declares of that card, as a part of the card that is there, and is held to it.
The way there is production's: a placement, Serve's configuration of it, `serve deploy`, nodes found by their labels, HAProxy in front.
Calls are the endpoints' defaults. Writes `two-cards.json`, `two-cards.md` and `two-cards.prom`, a scrape under load, to FOLDER.
"""

import argparse
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.gpu import random_store
from benchmarks.gpu.images import roomiest
from benchmarks.gpu.mixed_load import Call, Every, Load, Target, summary
from benchmarks.gpu.scrape import Watch
from benchmarks.gpu.two_cards_plan import BESIDE, MODELS, SHARING, card_gb, config, shares, targets
from benchmarks.raylets import Raylets, wait_until
from benchmarks.rolling_update import CODE

LOG_LINES = 40
UP_S, END_S = 200.0, 8.0  # waited for a replica; and kept for the end, before the limit


class Bench:
    """One run. rows: what was measured, by phase and model. notes: what went wrong, and what else was seen."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.smoke = options, bool(options.smoke)
        self.began = time.monotonic()
        self.folder = Path(tempfile.mkdtemp(prefix="ryla-"))
        self.store = Path(tempfile.mkdtemp(prefix="ryla-weights-", dir=None if self.smoke else roomiest()))
        self.key = secrets.token_urlsafe(32)
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        self.notes: list[str] = []
        self.facts: dict[str, Any] = {}
        self.up: list[str] = []
        self.watch = Watch({})
        settings = {
            "RYLA_PROFILE": "full",
            "RYLA_WEIGHTS_ROOT": str(self.store),
            "RYLA_LORA_CACHE": str(self.folder / "lora-cache"),
            "RYLA_API_KEYS": f"bench={hashlib.sha256(self.key.encode()).hexdigest()}",
            "RYLA_C2PA": "false",  # nothing here swaps a face
            "RYLA_COMPILED": str(options.compiled).lower(),
            "OMP_NUM_THREADS": "2",
            "RAY_memory_monitor_refresh_ms": "0",  # the store lies in memory, and a machine whose memory grows as it is used looks full
        }
        self.cluster = Raylets(self.folder, options.port, environment=settings)

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", flush=True)

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.say(text)

    def run(self) -> None:
        """Everything, in order."""
        builds = self.start_builds()
        self.start_nodes()
        built = self.finish_builds(builds)
        self.deploy(built)
        self.watch.targets = self.cluster.metrics
        self.measure()

    def start_builds(self) -> dict[str, "subprocess.Popen[str]"]:
        """A process a model; the two large ones on a card each."""
        found: dict[str, subprocess.Popen[str]] = {}
        for name in MODELS:
            command = [sys.executable, "-m", "benchmarks.gpu.random_store", name, str(self.store)] + ["--smoke"] * self.smoke
            card = {} if self.smoke else {"CUDA_VISIBLE_DEVICES": "1" if name == BESIDE else "0"}
            found[name] = subprocess.Popen(command, env=os.environ | card, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return found

    def finish_builds(self, builds: dict[str, "subprocess.Popen[str]"]) -> list[str]:
        built: list[str] = []
        for name, process in builds.items():
            said = process.communicate()[0].strip().splitlines()
            if process.returncode == 0:
                built.append(name)
                self.say(f"built {said[-1]}")
            else:
                self.note(f"{name}: its weights were not built\n" + "\n".join(said[-LOG_LINES:]))
        return built

    def start_nodes(self) -> None:
        self.cluster.start_head()
        for card, (name, kind) in enumerate((("a100", "A100-80GB"), ("l40s", "L40S"))):
            self.cluster.start_worker(name, kind, 1, cpus=8, visible=None if self.smoke else str(card))
        self.say("three nodes are up")

    def deploy(self, built: Sequence[str]) -> None:
        """`serve deploy` of a release of this code with its pins, and wait for every model that was built."""
        release = self.folder / "release"
        for name in CODE:
            copy = shutil.copytree if Path(name).is_dir() else shutil.copy
            release.mkdir(exist_ok=True)
            copy(name, release / name)
        (release / "deployments/weights.lock").write_text(json.dumps(random_store.pins(built)))
        total = None if self.smoke else card_gb()
        wanted = config(release, self.cluster.port + 10, total)
        self.facts |= {"card_gb": total, "shares": shares(wanted)}
        began = time.monotonic()
        self.cluster.deploy(wanted)
        try:
            wait_until(lambda: self.settled(built), "every model is up", UP_S)
            wait_until(self.answers, "the first node's front answers", UP_S / 4)
        except TimeoutError as error:
            self.note(str(error))
        self.up = [name for name in MODELS if name in self.cluster.replicas()]
        for name in (name for name in MODELS if name not in self.up):
            self.note(f"{name} is not up; its log ends:\n{self.log(name)}")
        self.say(f"up {time.monotonic() - began:.0f} s after `serve deploy`: {', '.join(self.up)}; on {self.cluster.replicas()}")

    def answers(self) -> bool:
        """Whether a node's front, which comes up beside the models, takes calls."""
        try:
            return httpx.get(f"{self.cluster.url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def settled(self, built: Sequence[str]) -> bool:
        """Whether every model is up, or Serve has given it up."""
        up, apps = set(self.cluster.replicas()), self.cluster.applications()
        lost = {name for app in apps.values() if app["status"] == "DEPLOY_FAILED" for name in app["deployments"]}
        return {*built, "gateway"} <= up | lost

    def log(self, name: str) -> str:
        """What Serve says of a deployment, which has the traceback of a start that failed, and the end of its newest replica's log."""
        apps = self.cluster.applications().values()
        said = [app["deployments"][name].get("message", "") for app in apps if name in app["deployments"]]
        files = sorted(self.folder.glob(f"ray/session_*/logs/serve/replica_*{name}*.log"), key=lambda file: file.stat().st_mtime)
        lines = files[-1].read_text(errors="replace").splitlines()[-LOG_LINES:] if files else []
        return "\n".join([*(text[-3000:] for text in said), *(line[:300] for line in lines)])

    def measure(self) -> None:
        """First calls, each sharing model alone, and all at once."""
        wanted = targets(small=self.smoke)
        chosen = {name: wanted[name] for name in self.up}
        first = Load(self.cluster.url, self.key, list(chosen.values()), 1).once()
        self.keep("first call", first, 60.0)
        with Every(2.0, self.watch.look):
            for name in (name for name in SHARING if name in chosen):
                self.phase(f"{name} alone", [chosen[name]], self.options.alone)
            left = self.options.limit - (time.monotonic() - self.began) - 4 * END_S
            seconds = min(self.options.seconds, left)
            if seconds < self.options.seconds:
                self.note(f"only {seconds:.0f} s are left for the mixed load")
            self.phase("all at once", list(chosen.values()), seconds)
            self.watch.look()
        for name in (name for name in self.up if name not in self.cluster.replicas()):
            self.note(f"{name} went down; its log ends:\n{self.log(name)}")

    def phase(self, name: str, chosen: Sequence[Target], seconds: float) -> None:
        self.say(f"{name}, {seconds:.0f} s")
        self.keep(name, Load(self.cluster.url, self.key, chosen, self.options.callers).run(seconds), seconds)

    def keep(self, phase: str, calls: Sequence[Call], seconds: float) -> None:
        self.rows[phase] = {name: summary([call for call in calls if call.model == name], seconds) for name in self.up}
        self.rows[phase] = {name: row for name, row in self.rows[phase].items() if row["ok"] or row["failed"]}
        for name, row in self.rows[phase].items():
            if row["failed"]:
                self.note(f"{phase}: {name}: {row['statuses']} {row['words']}\n{self.log(name)}")

    def table(self) -> str:
        """What was measured, as Markdown."""
        lines = ["| phase | model | ok | failed | a minute | median s | p95 s |", "|---|---|---|---|---|---|---|"]
        for phase, models in self.rows.items():
            for name, row in models.items():
                cells = (phase, name, row["ok"], row["failed"], row["per_min"], row["median_s"], row["p95_s"])
                lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
        mixed = self.rows.get("all at once", {})
        kept = {name: mixed[name]["per_min"] / own for name in SHARING if name in mixed and (own := self._alone(name))}
        lines.append("")
        lines += [f"{name} beside the other: {part:.2f} of its throughput alone" for name, part in kept.items()]
        gib = {name: (peak / 2**30, self.watch.share.get(name, 0) / 2**30) for name, peak in self.watch.reserved.items()}
        lines += [f"{name}: {peak:.1f} GiB reserved at most, of {may:.1f} that it may take" for name, (peak, may) in gib.items()]
        lines.append(f"out of memory: {self.watch.ooms:.0f} times")
        return "\n".join(lines)

    def _alone(self, name: str) -> float:
        return float(self.rows.get(f"{name} alone", {}).get(name, {}).get("per_min", 0.0))

    def write(self) -> None:
        """The log, as far as it got."""
        out: Path = self.options.out
        out.mkdir(parents=True, exist_ok=True)
        peaks = {name: round(peak / 2**30, 2) for name, peak in self.watch.reserved.items()}
        found = {"facts": self.facts, "rows": self.rows, "peak_gib": peaks, "ooms": self.watch.ooms, "notes": self.notes}
        (out / "two-cards.json").write_text(json.dumps(found, indent=1) + "\n")
        (out / "two-cards.md").write_text(self.table() + "\n")
        command = "python -m benchmarks.gpu.two_cards" + " --compiled" * self.options.compiled
        (out / "two-cards.prom").write_text(self.watch.example(f"A scrape under load by `{command}`."))
        print(self.table(), flush=True)

    def end(self) -> None:
        self.cluster.stop()
        for folder in (self.folder, self.store):
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("var/two-cards"))
    parser.add_argument("--seconds", type=float, help="of the mixed load; default 300, with --smoke 20")
    parser.add_argument("--alone", type=float, help="seconds of each model alone; default 30, with --smoke 8")
    parser.add_argument("--callers", type=int, default=2, help="callers a model")
    parser.add_argument("--limit", type=float, default=570.0, help="seconds after which the run ends itself")
    parser.add_argument("--port", type=int, default=24000, help="the first of about a hundred")
    parser.add_argument("--compiled", action="store_true", help="with compiled networks")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    options.seconds = options.seconds or (20.0 if options.smoke else 300.0)
    options.alone = options.alone or (8.0 if options.smoke else 30.0)
    bench = Bench(options)

    def ran_out() -> None:
        bench.note(f"stopped by its own limit of {options.limit:.0f} s")
        bench.write()
        bench.cluster.stop()
        os._exit(3)

    limit = threading.Timer(options.limit - END_S, ran_out)
    limit.daemon = True
    limit.start()
    try:
        bench.run()
    finally:
        limit.cancel()
        bench.write()
        bench.end()


if __name__ == "__main__":
    main()
