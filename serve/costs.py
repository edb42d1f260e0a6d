"""The ledger of costs, read from the jobs' rows: sums of whole micro-dollars, so that they add up however they are grouped.

What owned cards cost while no call used them stands apart: their rate times the time since the first job, less what calls paid for.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias, cast, get_args

from fastapi import FastAPI, Query, Request
from sqlalchemy import BigInteger, ColumnElement, Connection, Row, func, select
from sqlalchemy import cast as sql_cast

from models.errors import BadRequest
from serve.estimator import HERE
from serve.jobs import Jobs, jobs
from serve.settings import Settings

DAY_S: Final = 86_400
MOST_DAYS: Final = 366
MICROS: Final = 1_000_000

Column: TypeAlias = Literal["endpoint", "model", "backend", "tenant", "card", "day"]
COLUMNS: Final[tuple[Column, ...]] = get_args(Column)
_OF: Final[Mapping[Column, ColumnElement[Any]]] = {
    "endpoint": jobs.c.endpoint,
    "model": func.replace(jobs.c.deployments, ",", "+"),
    "backend": func.coalesce(jobs.c.backend, "none"),
    "tenant": jobs.c.tenant,
    "card": func.coalesce(jobs.c.gpu, "none"),
}
_SUMS: Final = (
    func.count().label("jobs"),
    func.coalesce(func.sum(jobs.c.gpu_seconds), 0.0).label("gpu_seconds"),
    func.coalesce(func.sum(sql_cast(func.round(jobs.c.cost_usd * MICROS), BigInteger)), 0).label("micros"),
)


def add_costs(app: FastAPI, ledger: Jobs, settings: Settings, tenant_of_request: Callable[[Request], str]) -> None:
    """Add `GET /costs`. Tenants see their own; operators (`RYLA_OPERATORS`), and callers who need no key, see all and what idled."""

    @app.get("/costs", summary="What calls cost, by endpoint, model, backend, tenant, card and day (UTC).", tags=["service"])
    async def costs(
        http: Request,
        by: Annotated[str, Query(description="Columns to group by, comma-separated.")] = ",".join(COLUMNS),
        first: Annotated[str | None, Query(description="First day, YYYY-MM-DD; not given: today.")] = None,
        last: Annotated[str | None, Query(description="Last day, inclusive; not given: today.")] = None,
    ) -> dict[str, Any]:
        tenant = tenant_of_request(http)
        sees_all = tenant in settings.operators or settings.open_to_loopback
        now = time.time()
        days = _days(first, last, now)
        columns = _columns(by)
        return await asyncio.to_thread(lambda: _report(ledger, settings, columns, days, None if sees_all else tenant, now))


def _columns(by: str) -> list[Column]:
    asked = list(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    unknown = [name for name in asked if name not in COLUMNS]
    if unknown:
        raise BadRequest(f"by names {', '.join(unknown)}; costs are grouped by {', '.join(COLUMNS)}")
    return cast(list[Column], asked)


def _days(first: str | None, last: str | None, now: float) -> range:
    """Days since 1970."""
    today = int(now // DAY_S)
    end = today if last is None else _day("last", last)
    begin = min(today, end) if first is None else _day("first", first)
    if not begin <= end < begin + MOST_DAYS:
        raise BadRequest(f"costs cover 1 to {MOST_DAYS} days, got first={_date(begin)} and last={_date(end)}")
    return range(begin, end + 1)


def _day(name: str, text: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() // DAY_S)
    except ValueError:
        raise BadRequest(f"{name} must be a day like 2026-01-31, got {text!r}") from None


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()


def _report(ledger: Jobs, settings: Settings, columns: Sequence[Column], days: range, tenant: str | None, now: float) -> dict[str, Any]:
    """Every row and total of the answer. tenant: whose jobs; None for all, with what idled."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    idle: list[dict[str, Any]] = []
    with ledger.engine.connect() as connection:
        born = connection.execute(select(func.min(jobs.c.accepted_at))).scalar_one()
        for day in days if born is not None else ():
            for row in _of_day(connection, columns, day, tenant):
                key = tuple(_date(day) if name == "day" else getattr(row, name) for name in columns)
                sums = found.setdefault(key, [0, 0.0, 0])
                for index, value in enumerate((row.jobs, float(row.gpu_seconds), int(row.micros))):
                    sums[index] += value
            if tenant is None:
                idle += _idle(connection, settings, day, float(cast(float, born)), now)
    rows = [dict(zip(columns, key, strict=True)) | _told(*sums) for key, sums in sorted(found.items())]
    total = [sum(sums[index] for sums in found.values()) for index in range(3)]
    answer: dict[str, Any] = {"first": _date(days[0]), "last": _date(days[-1]), "by": list(columns), "rows": rows, "total": _told(*total)}
    if tenant is None:
        answer |= {"idle": idle, "idle_total_usd": _usd(sum(round(row["cost_usd"] * MICROS) for row in idle))}
    return answer


def _of_day(connection: Connection, columns: Sequence[Column], day: int, tenant: str | None) -> Sequence[Row[Any]]:
    """Sums of the jobs accepted on a day; one day a query, since databases disagree on how to cut time into days."""
    keys = [_OF[name].label(name) for name in columns if name != "day"]
    query = select(*keys, *_SUMS).where(jobs.c.accepted_at >= day * DAY_S, jobs.c.accepted_at < (day + 1) * DAY_S)
    if tenant is not None:
        query = query.where(jobs.c.tenant == tenant)
    query = query.group_by(*(_OF[name] for name in columns if name != "day"))
    return [row for row in connection.execute(query).all() if row.jobs]


def _idle(connection: Connection, settings: Settings, day: int, born: float, now: float) -> list[dict[str, Any]]:
    """What the owned cards cost on a day beyond what calls paid for; a chain over two kinds of card counts for the first of them."""
    held_s = min(now, (day + 1) * DAY_S) - max(born, day * DAY_S)
    if held_s <= 0:
        return []
    paid: dict[str, int] = {}
    for row in _of_day(connection, ["card", "backend"], day, None):
        if row.backend == HERE:
            card = row.card.split("+")[0]
            paid[card] = paid.get(card, 0) + int(row.micros)
    return [
        {"day": _date(day), "card": card, "cards": count, "cost_usd": _usd(max(0, owned - paid.get(card, 0)))}
        for card, count in sorted(settings.owned_cards.items())
        for owned in (
            math.floor(Decimal(str(settings.rates.get(card, settings.rates["L40S"]))) * Decimal(str(count)) * Decimal(held_s) * MICROS),
        )
    ]


def _told(count: int, gpu_seconds: float, micros: int) -> dict[str, Any]:
    return {"jobs": count, "gpu_seconds": round(gpu_seconds, 3), "cost_usd": _usd(micros)}


def _usd(micros: int) -> float:
    """Micro-dollars as the nearest number of USD; it prints with at most six decimals."""
    return micros / MICROS
