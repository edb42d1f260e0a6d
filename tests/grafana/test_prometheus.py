"""A real Prometheus scrapes a loaded local cluster: every query of every panel returns data, or is declared empty for a stated reason."""

import json
import math
import shutil
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Served, free_port
from tests.grafana.test_dashboards import filled
from tools.dashboards.boards import BOARDS
from tools.dashboards.build import queries_of
from tools.monitoring import prometheus

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed"),
]

WAIT_S = 90.0
MOST_VALUES = 100


def ask(url: str, path: str, **parameters: str) -> Any:
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
        return json.loads(answer.read())["data"]


def has_data(url: str, expr: str) -> bool:
    """Whether an instant query returns at least one number."""
    return any(not math.isnan(float(series["value"][1])) for series in ask(url, "query", query=expr)["result"])


@pytest.fixture(scope="module")
def watched(served: Served, face_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Prometheus beside the cluster, while calls of all outcomes keep coming."""
    done = threading.Event()
    video = {"prompt": "a", "width": 128, "height": 128, "length": 5, "steps": 2}
    swapped = video | {"reference_image": face_url, "face_image": face_url}
    key = {"Idempotency-Key": "monitoring"}

    def load() -> None:
        with httpx.Client(base_url=served.url, timeout=60) as client:
            while not done.is_set():
                client.post("/wan2.6", json=video)
                client.post("/wan2.6-i2v-faceswap", json=swapped)
                client.post("/image-faceswap", json={"source_image": face_url, "face_image": face_url})
                client.post("/wan2.6", json={"prompt": 1})
                client.post("/wan2.6", json=video, headers=key)  # the second time a conflict
                done.wait(1)

    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus(folder, [f"127.0.0.1:{served.settings.metrics_port}"], free_port(), scrape_s=2) as url:
        loader = threading.Thread(target=load)
        loader.start()
        yield url
        done.set()
        loader.join()


def test_every_query_returns_data_or_is_declared_empty(watched: str):
    queries = [(board.uid, title, query) for board in BOARDS for title, query in queries_of(board)]
    missing = [item for item in queries if item[2].empty is None]
    until = time.monotonic() + WAIT_S
    while missing and time.monotonic() < until:
        time.sleep(2)
        missing = [item for item in missing if not has_data(watched, filled(item[2].expr))]
    assert not missing, "\n".join(f"{uid}: {title}: {query.expr}" for uid, title, query in missing)
    for _, _, query in queries:
        has_data(watched, filled(query.expr))  # one declared empty is a query that Prometheus takes, all the same


def test_no_label_has_many_values(watched: str):
    values: dict[tuple[str, str], set[str]] = {}
    for series in ask(watched, "series", **{"match[]": '{__name__=~"ray_ryla_.*"}'}):
        for label, value in series.items():
            values.setdefault((series["__name__"], label), set()).add(value)
    assert values
    assert {key: len(found) for key, found in values.items() if len(found) > MOST_VALUES} == {}


def test_rules_are_evaluated_and_nothing_cries_wolf(watched: str):
    groups = ask(watched, "rules")["groups"]
    assert [rule["name"] for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []
    firing = [alert["labels"]["alertname"] for alert in ask(watched, "alerts")["alerts"] if alert["state"] == "firing"]
    assert firing == []


def test_the_monitor_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="apt-get install prometheus"), prometheus(tmp_path, [], 1):
        pass
