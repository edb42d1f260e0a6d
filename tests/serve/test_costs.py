import random
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import insert, select
from starlette.testclient import TestClient

from models.errors import BadRequest
from serve.costs import COLUMNS, add_costs
from serve.jobs import Jobs, jobs
from serve.settings import Settings

DAY_S = 86_400
TODAY = int(time.time() // DAY_S)
CENT = Decimal("0.01")


def rows(count: int) -> Iterator[dict[str, object]]:
    draw = random.Random(7)
    for index in range(count):
        models = draw.choice(["wan-ti2v,face-swap", "flux-dev", "sdxl"])
        day = TODAY - draw.randrange(5)
        yield {
            "id": f"job_{index}",
            "tenant": draw.choice(["a", "b"]),
            "endpoint": draw.choice(["one", "two", "three"]),
            "deployments": models,
            "state": "succeeded",
            "body_sha256": "",
            "priority": 0,
            "attempt": 1,
            "fence": 0,
            "progress": 1.0,
            "backend": draw.choice(["cluster", "modal", None]),
            "gpu": draw.choice(["L40S", "A100-80GB", None]),
            "accepted_at": min(day * DAY_S + draw.uniform(0, DAY_S - 1), time.time() - 1),
            "cost_usd": round(draw.uniform(0, 0.2), 6),
            "gpu_seconds": draw.uniform(0, 100),
            "reserved_usd": 0.0,
        }


@pytest.fixture
def ledger(tmp_path: Path) -> Jobs:
    store = Jobs(f"sqlite:///{tmp_path}/jobs.db")
    with store.engine.begin() as connection:
        connection.execute(insert(jobs), list(rows(1000)))
    return store


def client(ledger: Jobs, tenant: str = "a", **settings: object) -> TestClient:
    app = FastAPI()
    add_costs(app, ledger, Settings(**settings), lambda _: tenant)  # pyright: ignore[reportArgumentType]
    return TestClient(app)


def date(day: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(day * DAY_S))


WEEK = {"first": date(TODAY - 6), "last": date(TODAY)}


def sum_of_rows(ledger: Jobs) -> Decimal:
    with ledger.engine.connect() as connection:
        return sum((Decimal(str(usd)) for (usd,) in connection.execute(select(jobs.c.cost_usd))), Decimal())


@pytest.mark.parametrize("by", [",".join(COLUMNS), "", "day", "model,card", "tenant", "endpoint,backend,day"])
def test_totals_equal_the_sum_of_the_rows_however_grouped(ledger: Jobs, by: str):
    answer = client(ledger).get("/costs", params=WEEK | {"by": by}).json()
    expected = sum_of_rows(ledger)
    assert Decimal(str(answer["total"]["cost_usd"])).quantize(Decimal("0.000001")) == expected.quantize(Decimal("0.000001"))
    assert sum(Decimal(str(row["cost_usd"])) for row in answer["rows"]).quantize(CENT) == expected.quantize(CENT)
    assert answer["total"]["jobs"] == sum(row["jobs"] for row in answer["rows"]) == 1000
    assert all(set(row) == {*filter(None, by.split(",")), "jobs", "gpu_seconds", "cost_usd"} for row in answer["rows"])


def test_days_are_told_apart_and_bounded(ledger: Jobs):
    whole = client(ledger).get("/costs", params=WEEK | {"by": "day"}).json()["rows"]
    for row in whole:
        assert client(ledger).get("/costs", params={"first": row["day"], "last": row["day"], "by": "day"}).json()["rows"] == [row]


def test_a_tenant_sees_its_own_and_an_operator_everybodys(ledger: Jobs):
    keys = {"a" * 64: "a"}
    own = client(ledger, api_keys=keys).get("/costs", params=WEEK | {"by": "tenant"}).json()
    assert [row["tenant"] for row in own["rows"]] == ["a"]
    assert "idle" not in own
    everybody = client(ledger, api_keys=keys, operators=("a",)).get("/costs", params=WEEK | {"by": "tenant"}).json()
    assert [row["tenant"] for row in everybody["rows"]] == ["a", "b"]
    assert own["rows"][0] == everybody["rows"][0]


def test_idle_is_what_owned_cards_cost_beyond_what_calls_paid(tmp_path: Path):
    store = Jobs(f"sqlite:///{tmp_path}/idle.db")
    day = TODAY - 2
    common = next(rows(1)) | {"gpu": "L40S", "accepted_at": day * DAY_S + DAY_S / 2}
    with store.engine.begin() as connection:
        connection.execute(insert(jobs), common | {"id": "1", "backend": "cluster", "cost_usd": 7.5})
        connection.execute(insert(jobs), common | {"id": "2", "backend": "modal", "cost_usd": 100.0})
    rates = {"L40S": 0.001, "A100-80GB": 0.002}
    ask = {"first": date(day - 3), "last": date(day), "by": "backend"}
    answer = client(store, rates=rates, owned_cards={"L40S": 2, "A100-80GB": 1}).get("/costs", params=ask).json()
    # From noon of the first job's day: 43,200 s × 2 cards × 0.001 = 86.40, less 7.50 that the call on the cluster paid.
    assert answer["idle"] == [
        {"day": date(day), "card": "A100-80GB", "cards": 1, "cost_usd": 86.4},
        {"day": date(day), "card": "L40S", "cards": 2, "cost_usd": 78.9},
    ]
    assert answer["idle_total_usd"] == 165.3
    assert answer["total"]["cost_usd"] == 107.5, "idle cost stands apart"


@pytest.mark.parametrize(
    "ask", [{"by": "prompt"}, {"first": "yesterday"}, {"first": "2026-02-01", "last": "2026-01-01"}, {"first": "2020-01-01"}]
)
def test_nonsense_is_refused_with_the_way_out(ledger: Jobs, ask: dict[str, str]):
    with pytest.raises(BadRequest, match=r"costs|day like"):
        client(ledger).get("/costs", params=ask)


def test_an_empty_table_costs_nothing(tmp_path: Path):
    answer = client(Jobs(f"sqlite:///{tmp_path}/none.db"), owned_cards={"L40S": 1}).get("/costs").json()
    assert (answer["rows"], answer["total"]["cost_usd"], answer["idle"]) == ([], 0.0, [])
