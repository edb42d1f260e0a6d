"""The life of one call: from a checked body to a settled job."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from deployments.spec.endpoint import Endpoint, Plan
from deployments.spec.fields import MAX_SEED
from deployments.spec.request import Request
from models.errors import Cancelled, RylaError
from models.host import Event, Result
from models.runner import Fact
from serve.background import Background
from serve.call_metrics import CallMetrics
from serve.consent import ConsentRule
from serve.cost import Bill, bill
from serve.dispatch import Ask, Dispatcher
from serve.fallbacks import Fallbacks
from serve.jobs import Jobs, new_job_id
from serve.loras import Loras
from serve.outside import UNSAID, Outside
from serve.overflow import Mode
from serve.problems import body_of

log = logging.getLogger("ryla.calls")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what the headers ask for. facts: what the reply tells beside what the plan and the run tell."""

    tenant: str
    idempotency_key: str | None
    deadline: float
    burst: Mode = Mode.AUTO
    outside: Outside = UNSAID
    facts: Mapping[str, Fact] = field(default_factory=dict[str, Fact])


@dataclass(slots=True)
class Job:
    """One accepted call while it runs."""

    id: str
    endpoint: Endpoint
    plan: Plan
    seed: int
    started: float
    ask: Ask
    backend: str = ""
    reason: str = ""
    bill: Bill | None = None
    ended: bool = False
    written: asyncio.Task[None] | None = None


class Calls:
    """Accepts calls and carries them out."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        jobs: Jobs,
        rates: Mapping[str, float],
        metrics: CallMetrics,
        loras: Loras,
        fallbacks: Fallbacks | None = None,
        consent: ConsentRule | None = None,
    ) -> None:
        self.jobs = jobs
        self.loras = loras
        self.fallbacks = fallbacks
        self._consent = ConsentRule() if consent is None else consent
        self._dispatcher = dispatcher
        self._rates = rates
        self.metrics = metrics
        self._background = Background()

    async def accept(self, endpoint: Endpoint, request: Request, body: bytes, caller: Caller) -> Job:
        """Plan the call and write its row. Raises BadRequest and its kin before anything is written."""
        asked = getattr(request, "seed", None)
        seed = secrets.randbelow(MAX_SEED + 1) if asked is None else int(asked)
        consent, planned = await asyncio.to_thread(lambda: (self._consent.check(request, caller.tenant), endpoint.plan(request, seed)))
        plan = await self.loras.resolve(planned, caller.tenant)
        plan.facts.update(caller.facts)
        job = Job(new_job_id(), endpoint, plan, seed, time.perf_counter(), self._ask(endpoint, request, plan, caller))
        row = self.jobs.accept(
            job.id,
            tenant=caller.tenant,
            endpoint=endpoint.name,
            deployments=tuple(stage.deployment for stage in plan.stages),
            body=body,
            seed=seed,
            key=caller.idempotency_key,
            deadline=caller.deadline,
            consent=consent,
        )
        job.written = asyncio.create_task(row)
        try:
            await asyncio.shield(job.written)
        except asyncio.CancelledError:
            self.abandon(job)
            raise
        self.metrics.accepted(job.id, plan)
        return job

    def _ask(self, endpoint: Endpoint, request: Request, plan: Plan, caller: Caller) -> Ask:
        outside = caller.outside.also(request)
        fallback = None if self.fallbacks is None else self.fallbacks.of(endpoint, plan, caller.tenant, outside)
        return Ask(caller.tenant, caller.burst, fallback, direct=fallback is not None and outside.only is not None)

    def abandon(self, job: Job) -> None:
        """The caller has gone, maybe before the job began: settle its row, unless that has happened already."""
        if not job.ended:
            self._settle(job, "cancelled", None, None)

    async def carry_out(self, job: Job, deadline: float) -> AsyncGenerator[Event, None]:
        """Run the job, yielding Progress and, last, one Result; settle its row however it ends."""
        state, error = "cancelled", None
        result: Result | None = None
        try:
            run = self._dispatcher.run(job.plan, deadline=deadline, on_start=lambda name, why: self._begin(job, name, why), ask=job.ask)
            async with aclosing(run) as events:
                async for event in events:
                    self.metrics.begun(job.id)
                    if isinstance(event, Result):
                        result, state = event, "succeeded"
                        job.bill = bill(event.stages, self._rates)
                    yield event
        except Cancelled as stop:
            error = stop
            raise
        except Exception as failure:
            state, error = "failed", failure
            raise
        finally:
            self._settle(job, state, error, result)

    async def row(self, job_id: str, tenant: str) -> dict[str, Any]:
        """The row of a tenant's job, with all that this gateway has to write to it: a reply does not wait for its row. Raises NotFound."""
        await self._background.ended()
        return await self.jobs.row(job_id, tenant)

    def _begin(self, job: Job, backend: str, reason: str) -> None:
        job.backend, job.reason = backend, reason
        self.metrics.sent(job.id, job.plan, backend)
        self._write(job, lambda: self.jobs.start(job.id, backend))

    def _settle(self, job: Job, state: str, error: BaseException | None, result: Result | None) -> None:
        """Write the outcome in a task of its own: the caller may be gone, and its cancellation must not stop this."""
        job.ended = True
        columns: dict[str, object] = {"progress": 1.0} if result else {}
        if result is not None and job.bill is not None:
            columns |= {"cost_usd": job.bill.usd, "gpu": job.bill.gpu, "gpu_seconds": job.bill.gpu_seconds}
            columns |= {"content_type": result.content_type, "output_bytes": len(result.media)}
        if error is not None:
            body = body_of(error, job.id)
            columns |= {"error_type": body["type"], "error": body["error"]}
            if not isinstance(error, RylaError):
                log.error("job %s failed", job.id, exc_info=error)
        self.metrics.ended(job.id, job.endpoint, job.plan, job.backend, state, result=result, bill=job.bill, error=error)
        self._write(job, lambda: self.jobs.finish(job.id, state, **columns))

    def _write(self, job: Job, write: Callable[[], Awaitable[object]]) -> None:
        """Write to the job's row, in order, in the background."""
        before = job.written

        async def work() -> None:
            if before is not None:
                await before
            try:
                await write()
            except Exception:
                log.exception("job %s: its row could not be written", job.id)

        job.written = self._background.start(work())
