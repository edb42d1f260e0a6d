"""Dashboards, rules and alerts agree with each other, with the metrics that are declared, and with Prometheus's own checks."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve.metrics import METRICS
from tools.dashboards.boards import BOARDS
from tools.dashboards.build import Board, queries_of, to_json

PROMETHEUS = Path("grafana/prometheus")
VARIABLES = {"$__rate_interval": "1m", "$model": ".*", "$endpoint": ".*"}
BY_UID = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)


def filled(expr: str) -> str:
    """A query as Grafana sends it, with its variables filled in."""
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, expr
    return expr


def rules(file: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((PROMETHEUS / file).read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments: str, cwd: Path | None = None) -> None:
    binary = shutil.which("promtool")
    if binary is None:
        pytest.skip("promtool is not installed; on Debian: apt-get install prometheus")
    done = subprocess.run([binary, *arguments], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


@BY_UID
def test_the_files_are_what_the_boards_say(board: Board):
    file = Path(f"grafana/dashboards/{board.uid}.json")
    assert file.read_text() == to_json(board), "run `python -m tools.dashboards`"


@BY_UID
def test_a_board_can_be_read(board: Board):
    made = json.loads(to_json(board))
    panels = [panel for panel in made["panels"] if panel["type"] != "row"]
    assert len({panel["title"] for panel in panels}) == len(panels), "titles tell panels apart"
    for panel in panels:
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]
        for target in panel["targets"]:
            assert target["expr"], panel["title"]
            assert target["datasource"]["uid"] == "${datasource}", panel["title"]
            by = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert shown <= by or not by, f"{panel['title']}: the legend shows {shown - by}, which the query sums away"


def test_every_query_is_valid(tmp_path: Path):
    records = [
        {"record": f"query:{index}", "expr": filled(query.expr)} for index, query in enumerate(q for b in BOARDS for _, q in queries_of(b))
    ]
    file = tmp_path / "queries.yml"
    file.write_text(
        yaml.safe_dump({"groups": [{"name": "queries", "rules": [r | {"record": f"query:number{i}"} for i, r in enumerate(records)]}]})
    )
    promtool("check", "rules", str(file))


def test_queries_and_rules_name_declared_metrics_and_all_of_them():
    exprs = [query.expr for board in BOARDS for _, query in queries_of(board)] + [
        str(rule["expr"]) for f in ("rules.yml", "alerts.yml") for rule in rules(f)
    ]
    known = {name for metric in METRICS for name in metric.exported}
    recorded = {rule["record"] for rule in rules("rules.yml")}
    text = "\n".join(exprs)
    named = set(re.findall(r"\bray_ryla_\w+", text))
    assert named <= known
    assert set(re.findall(r"\b[a-z_]+:ryla_\w+:\w+", text)) <= recorded
    unseen = [metric.name for metric in METRICS if not named & set(metric.exported)]
    assert unseen == [], "metrics that no panel, rule or alert shows"


def test_configuration_and_rules_pass_promtool():
    promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))


@pytest.mark.slow
def test_every_alert_fires_in_its_unit_test():
    promtool("test", "rules", "alerts_test.yml", cwd=Path("tests/grafana"))
    tested = [
        case["alertname"]
        for test in yaml.safe_load(Path("tests/grafana/alerts_test.yml").read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    ]
    assert sorted(tested) == sorted(rule["alert"] for rule in rules("alerts.yml"))


def test_every_alert_has_a_runbook_section():
    sections = re.findall(r"^## (\w+)$", Path("docs/runbook.md").read_text(), re.MULTILINE)
    for rule in rules("alerts.yml"):
        assert rule["alert"] in sections
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")
