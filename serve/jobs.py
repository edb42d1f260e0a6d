"""The table of jobs: one row an accepted call, with its state, progress, cost and outcome.

SQLite by default, any database SQLAlchemy knows by URL. States only move forward:
accepted → running → succeeded | failed | cancelled. The row has room for the queue (priority, attempt, fence) and for async callers
(webhook, output), so that they need no migration.
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import JSON, Column, Float, Index, Integer, MetaData, String, Table, Text, create_engine, event, insert, select, update
from sqlalchemy.engine import Engine, make_url

from models.errors import Conflict, NotFound

FINAL = ("succeeded", "failed", "cancelled")
Answer = TypeVar("Answer")

metadata = MetaData()
jobs = Table(
    "jobs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(80), nullable=False),
    Column("endpoint", String(80), nullable=False),
    Column("deployments", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("idempotency_key", String(200)),
    Column("body_sha256", String(64), nullable=False),
    Column("seed", String(24)),
    Column("priority", Integer, nullable=False, default=0),
    Column("attempt", Integer, nullable=False, default=0),
    Column("fence", Integer, nullable=False, default=0),
    Column("backend", String(16)),
    Column("progress", Float, nullable=False, default=0.0),
    Column("accepted_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("deadline", Float),
    Column("reserved_usd", Float, nullable=False, default=0.0),
    Column("cost_usd", Float, nullable=False, default=0.0),
    Column("gpu", String(40)),
    Column("gpu_seconds", Float, nullable=False, default=0.0),
    Column("content_type", String(40)),
    Column("output_bytes", Integer),
    Column("output_uri", Text),
    Column("webhook_url", Text),
    Column("consent", JSON),
    Column("error_type", String(80)),
    Column("error", Text),
    Index("jobs_by_key", "tenant", "idempotency_key", unique=True),
    Index("jobs_by_day", "accepted_at"),
)


def _connect(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 10, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def new_job_id() -> str:
    """An id that nobody can guess."""
    return f"job_{uuid.uuid4().hex}"


class Jobs:
    """The table, for async callers: each statement runs in a thread."""

    def __init__(self, url: str) -> None:
        self.engine = _connect(url)
        metadata.create_all(self.engine)

    async def accept(
        self,
        job_id: str,
        *,
        tenant: str,
        endpoint: str,
        deployments: tuple[str, ...],
        body: bytes,
        seed: int,
        key: str | None,
        deadline: float,
        consent: list[dict[str, Any]] | None = None,
    ) -> None:
        """Write the row of a new job. Raises Conflict when the idempotency key was used before.

        consent: what the caller attests, an entry a source face.
        """
        row: dict[str, Any] = {
            "id": job_id,
            "tenant": tenant,
            "endpoint": endpoint,
            "deployments": ",".join(deployments),
            "state": "accepted",
            "idempotency_key": key,
            "body_sha256": hashlib.sha256(body).hexdigest(),
            "seed": str(seed),
            "accepted_at": time.time(),
            "deadline": deadline,
            "consent": consent,
        }
        await self._thread(lambda: self._insert(row))

    async def start(self, job_id: str, backend: str) -> None:
        """The job runs on `backend`; counts as one more attempt."""
        await self._thread(lambda: self._move(job_id, state="running", backend=backend, started_at=time.time(), attempt=jobs.c.attempt + 1))

    async def finish(self, job_id: str, state: str, **columns: Any) -> bool:
        """Settle the job once; False when it already was settled, in which case nothing changes."""
        return await self._thread(lambda: self._move(job_id, state=state, finished_at=time.time(), **columns))

    async def row(self, job_id: str, tenant: str) -> dict[str, Any]:
        """The row of a tenant's job. Raises NotFound."""

        def read() -> dict[str, Any]:
            with self.engine.connect() as connection:
                found = connection.execute(select(jobs).where(jobs.c.id == job_id, jobs.c.tenant == tenant)).mappings().first()
            if found is None:
                raise NotFound(f"no job {job_id!r} of yours")
            return dict(found)

        return await self._thread(read)

    def _insert(self, row: dict[str, Any]) -> None:
        with self.engine.begin() as connection:
            if row["idempotency_key"] is not None:
                clash = connection.execute(
                    select(jobs.c.id, jobs.c.body_sha256, jobs.c.state).where(
                        jobs.c.tenant == row["tenant"], jobs.c.idempotency_key == row["idempotency_key"]
                    )
                ).first()
                if clash is not None and clash.state in ("failed", "cancelled") and clash.body_sha256 == row["body_sha256"]:
                    connection.execute(update(jobs).where(jobs.c.id == clash.id).values(idempotency_key=None))  # an honest retry
                elif clash is not None:
                    same = "the same body" if clash.body_sha256 == row["body_sha256"] else "another body"
                    raise Conflict(
                        f"Idempotency-Key {row['idempotency_key']!r} was used with {same} for {clash.id}, which is {clash.state}; "
                        f"ask GET /jobs/{clash.id}, or send a new key"
                    )
            connection.execute(insert(jobs).values(**row))

    def _move(self, job_id: str, **columns: Any) -> bool:
        with self.engine.begin() as connection:
            moved = connection.execute(update(jobs).where(jobs.c.id == job_id, jobs.c.state.not_in(FINAL)).values(**columns))
        return moved.rowcount == 1

    @staticmethod
    async def _thread(work: Callable[[], Answer]) -> Answer:
        return await asyncio.to_thread(work)
