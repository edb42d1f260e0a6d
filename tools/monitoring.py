"""`python -m tools.monitoring`: a real Prometheus on this machine, scraping the local cluster until Ctrl-C. What `make monitoring` runs.

Grafana with all dashboards comes beside it for people who have docker: `docker compose -f grafana/compose.yaml up`.
"""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from serve.settings import Settings

CONFIG = Path("grafana/prometheus")
FOLDER = Path("var/prometheus")
PORT = 9090
START_S = 30.0


@contextmanager
def prometheus(folder: Path, targets: Sequence[str], port: int, scrape_s: int | None = None) -> Generator[str]:
    """A Prometheus with our rules that scrapes `targets`; yields its URL, and is stopped at the end. folder: its data and configuration."""
    binary = shutil.which("prometheus")
    if binary is None:
        sys.exit("prometheus is not installed; on Debian: apt-get install prometheus")
    shutil.copytree(CONFIG, folder / "config", dirs_exist_ok=True)
    (folder / "config/targets").mkdir(exist_ok=True)
    (folder / "config/targets/ray.json").write_text(json.dumps([{"targets": list(targets)}]))
    main = folder / "config/prometheus.yml"
    main.write_text(main.read_text().replace("/tmp/ray/prom_metrics_service_discovery.json", "targets/none*.json"))
    if scrape_s is not None:
        main.write_text(main.read_text().replace("_interval: 5s", f"_interval: {scrape_s}s"))
    url = f"http://127.0.0.1:{port}"
    options = [f"--config.file={main}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([binary, *options], stdout=log, stderr=log)
    try:
        _await_ready(process, url, folder / "prometheus.log")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def _await_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"Prometheus did not come up: {log.read_text()[-500:]}")


def main() -> None:
    """Watch the local cluster until interrupted."""
    target = f"127.0.0.1:{Settings().metrics_port}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with prometheus(FOLDER, [target], PORT) as url:
        print(
            f"Prometheus: {url}, scraping {target}. With docker, in another terminal: docker compose -f grafana/compose.yaml up", flush=True
        )
        stop.wait()


if __name__ == "__main__":
    main()
