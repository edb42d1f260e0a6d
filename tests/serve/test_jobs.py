import asyncio
from pathlib import Path

import pytest

from models.errors import Conflict, NotFound
from serve.jobs import Jobs, new_job_id


@pytest.fixture
def store(tmp_path: Path) -> Jobs:
    return Jobs(f"sqlite:///{tmp_path}/deep/jobs.db")


def accept(store: Jobs, key: str | None = None, body: bytes = b"{}", tenant: str = "a") -> str:
    job_id = new_job_id()
    values = {"tenant": tenant, "endpoint": "wan2.6", "deployments": ("wan-t2v",), "body": body, "seed": 0, "key": key, "deadline": 1e12}
    asyncio.run(store.accept(job_id, **values))
    return job_id


def row(store: Jobs, job_id: str, tenant: str = "a") -> dict[str, object]:
    return asyncio.run(store.row(job_id, tenant))


def test_a_job_moves_forward_and_is_settled_once(store: Jobs):
    job_id = accept(store)
    assert row(store, job_id)["state"] == "accepted"
    asyncio.run(store.start(job_id, "cluster"))
    assert asyncio.run(store.finish(job_id, "succeeded", cost_usd=0.25))
    assert not asyncio.run(store.finish(job_id, "failed", cost_usd=9.0))
    settled = row(store, job_id)
    assert (settled["state"], settled["cost_usd"], settled["attempt"], settled["seed"]) == ("succeeded", 0.25, 1, "0")


def test_a_job_is_seen_by_its_tenant_only(store: Jobs):
    job_id = accept(store)
    with pytest.raises(NotFound):
        row(store, job_id, tenant="b")


def test_an_idempotency_key_is_good_for_one_job_a_tenant(store: Jobs):
    first = accept(store, key="k")
    for body in (b"{}", b'{"other": 1}'):
        with pytest.raises(Conflict, match=first):
            accept(store, key="k", body=body)
    assert accept(store, key="k", tenant="b") != first


def test_a_failed_job_may_be_sent_again_under_its_key(store: Jobs):
    first = accept(store, key="k")
    asyncio.run(store.finish(first, "failed"))
    with pytest.raises(Conflict):
        accept(store, key="k", body=b"another")
    assert accept(store, key="k") != first


def test_the_rows_survive_the_process_that_wrote_them(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/jobs.db"
    job_id = accept(Jobs(url))
    assert row(Jobs(url), job_id)["state"] == "accepted"
