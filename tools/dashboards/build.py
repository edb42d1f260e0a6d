"""From what a board shows to Grafana's JSON, with Grafana's own builder library."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, StackingMode
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, VariableRefresh

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a panel. legend: Grafana's format, `{{label}}`. empty: why it may return nothing on a cluster without cards or bursts."""

    expr: str
    legend: str
    empty: str | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """What a panel shows. tells: what to read from it. unit: Grafana's id of a unit."""

    title: str
    tells: str
    unit: str
    queries: tuple[Query, ...]
    kind: Literal["lines", "stacked", "number", "bars"] = "lines"
    width: int = 8


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard. variables: label → the metric whose values of that label it offers."""

    uid: str
    title: str
    tells: str
    rows: tuple[Row, ...]
    variables: tuple[tuple[str, str], ...] = ()


def queries_of(board: Board) -> list[tuple[str, Query]]:
    """Every query of a board, with its panel's title."""
    return [(panel.title, query) for row in board.rows for panel in row.panels for query in panel.queries]


def to_json(board: Board) -> str:
    """The dashboard as Grafana imports it."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"ryla-{board.uid}")
        .description(board.tells)
        .tags(["ryla"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for label, metric in board.variables:
        made.with_variable(_variable(label, metric))
    for row in board.rows:
        made.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            made.with_panel(_panel(panel))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _variable(label: str, metric: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(label)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({metric}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel | bargauge.Panel:
    made: timeseries.Panel | stat.Panel | bargauge.Panel
    if panel.kind == "number":
        made = stat.Panel()
    elif panel.kind == "bars":
        made = bargauge.Panel()
    else:
        made = timeseries.Panel().fill_opacity(10).legend(_legend()).min(0)
        if panel.kind == "stacked":
            made = made.fill_opacity(40).stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    made.title(panel.title).description(_description(panel)).unit(panel.unit).datasource(SOURCE).height(8).span(panel.width)
    for index, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + index)).datasource(SOURCE)
        made.with_target(target.instant() if panel.kind in ("number", "bars") else target.range())
    return made


def _legend() -> common.VizLegendOptions:
    return common.VizLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.BOTTOM).calcs(["lastNotNull", "max"])


def _description(panel: Panel) -> str:
    reasons: Sequence[str] = list(dict.fromkeys(query.empty for query in panel.queries if query.empty))
    return panel.tells + "".join(f" Empty where {reason}." for reason in reasons)
