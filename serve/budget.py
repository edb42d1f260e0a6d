"""Nested budgets of what bursts may cost, and leases of those under way: in the jobs' database, for all gateways and across restarts.

Money is set aside before a call goes out and settled to what it cost; until then it counts in full. What a gateway that died had set
aside stays counted, because it may have been spent. Sums are whole micro-dollars by UTC minute and UTC day.
"""

import asyncio
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sqlalchemy import BigInteger, Column, Connection, Float, Integer, MetaData, String, Table, delete, func, insert, select, update
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from serve.overflow import Reason

log = logging.getLogger("ryla.burst")

MINUTE, DAY = 60, 86_400
BEAT_S: Final = 15.0
EXPIRY_S: Final = 60.0  # a lease whose gateway has not been heard of for this long is nobody's
REMEMBERED_S: Final = 2.0  # how long a refusal is taken for granted, before the database is asked again
EVERYBODY: Final = ""
T = TypeVar("T")

metadata = MetaData()
spend = Table(
    "burst_spend",
    metadata,
    Column("tenant", String(80), primary_key=True),
    Column("seconds", Integer, primary_key=True),  # length of the period: a minute or a day
    Column("period", Integer, primary_key=True),  # its number since 1970
    Column("micros", BigInteger, nullable=False, default=0),
)
leases = Table(
    "burst_leases",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("gateway", String(32), nullable=False),
    Column("pool", String(200), nullable=False),
    Column("heard_at", Float, nullable=False),
)
turn = Table("burst_turn", metadata, Column("id", Integer, primary_key=True), Column("count", BigInteger, nullable=False, default=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What bursts may cost at most, in USD, and how many calls may be out at once."""

    per_call: float
    per_minute: float
    per_day: float
    per_tenant_day: float
    calls: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which cap is in the way, and for how long if that is known."""

    reason: Reason
    for_s: float | None = None


@dataclass(slots=True, eq=False)
class Reservation:
    """Money set aside for one call, and its right to be out. micros: how much."""

    tenant: str
    micros: int
    at: float
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    settled: bool = False

    @property
    def usd(self) -> float:
        """How much, in USD."""
        return self.micros / 1e6

    def periods(self) -> Iterator[tuple[str, int, int]]:
        """The sums it counts in."""
        for tenant, seconds in ((EVERYBODY, MINUTE), (EVERYBODY, DAY), (self.tenant, DAY)):
            yield tenant, seconds, int(self.at // seconds)


class Budget:
    """Reserves and settles. Every method that touches the database takes a thread for it."""

    def __init__(self, engine: Engine, caps: Caps, clock: Callable[[], float] = time.time) -> None:
        self.caps = caps
        self._engine = engine
        self._clock = clock
        self._gateway = uuid.uuid4().hex
        self._mutex = threading.Lock()  # one transaction at a time from here; the database keeps the gateways apart
        self._refused: dict[tuple[Reason, str], tuple[float, int, Refusal]] = {}
        metadata.create_all(engine)
        try:
            with engine.begin() as connection:
                connection.execute(insert(turn).values(id=1, count=0))
        except IntegrityError:
            pass  # another gateway was first, or this is no first start

    async def reserve(self, tenant: str, pool: str, usd: float, *, strays: int = 0) -> Reservation | Refusal:
        """Set money aside and take a lease. strays: calls of nobody's that run on the mirror all the same."""
        answer = await self._thread(lambda connection: self._reserve(connection, tenant, pool, _micros(usd), strays))
        if isinstance(answer, Refusal):
            key = (answer.reason, tenant if answer.reason is Reason.TENANT_BUDGET else EVERYBODY)
            self._refused[key] = (self._clock() + min(answer.for_s or REMEMBERED_S, REMEMBERED_S), _micros(usd), answer)
        return answer

    async def extend(self, reservation: Reservation, usd: float) -> bool:
        """Set `usd` more aside for a call that takes longer; False when a cap is in the way."""
        return await self._thread(lambda connection: self._extend(connection, reservation, _micros(usd)))

    async def settle(self, reservation: Reservation, usd: float) -> None:
        """The call has ended and cost this; its lease ends too. Only the first time counts."""
        if reservation.settled:
            return
        reservation.settled = True
        if _micros(usd) > reservation.micros:
            log.error("a burst cost %.6f USD, more than the %.6f set aside for it", usd, reservation.usd)
        await self._thread(lambda connection: self._settle(connection, reservation, _micros(usd)))

    def refusal(self, tenant: str, usd: float) -> Refusal | None:
        """What a reservation of this size would meet, as far as that was learned in the last moments."""
        now, micros = self._clock(), _micros(usd)
        if micros > _micros(self.caps.per_call):
            return Refusal(Reason.CALL_BUDGET)
        for (_, whose), (until, least, refusal) in self._refused.items():
            if now < until and micros >= least and whose in (EVERYBODY, tenant):
                return refusal
        return None

    async def beat(self) -> None:
        """Tell that this gateway is alive; its leases last while this is called every `BEAT_S`."""
        mine = leases.c.gateway == self._gateway
        await self._thread(lambda connection: connection.execute(update(leases).where(mine).values(heard_at=self._clock())))

    async def out(self, pool: str) -> int:
        """How many calls of a pool are out, from all gateways."""
        return await self._thread(lambda connection: self._count(connection, pool))

    async def spent(self, tenant: str = EVERYBODY) -> float:
        """USD spent or set aside today."""
        day = int(self._clock() // DAY)
        return await self._thread(lambda connection: self._sum(connection, tenant, DAY, day)) / 1e6

    def _reserve(self, connection: Connection, tenant: str, pool: str, micros: int, strays: int) -> Reservation | Refusal:
        now = self._clock()
        if micros > _micros(self.caps.per_call):
            return Refusal(Reason.CALL_BUDGET)
        if self._count(connection) + strays >= self.caps.calls:
            return Refusal(Reason.SLOTS)
        reservation = Reservation(tenant, micros, now)
        refusal = self._over(connection, reservation, micros)
        if refusal is not None:
            return refusal
        self._add(connection, reservation, micros)
        connection.execute(insert(leases).values(id=reservation.id, gateway=self._gateway, pool=pool, heard_at=now))
        return reservation

    def _extend(self, connection: Connection, reservation: Reservation, micros: int) -> bool:
        if reservation.micros + micros > _micros(self.caps.per_call) or self._over(connection, reservation, micros) is not None:
            return False
        self._add(connection, reservation, micros)
        reservation.micros += micros
        return True

    def _settle(self, connection: Connection, reservation: Reservation, micros: int) -> None:
        self._add(connection, reservation, micros - reservation.micros)
        reservation.micros = micros
        connection.execute(delete(leases).where(leases.c.id == reservation.id))

    def _over(self, connection: Connection, reservation: Reservation, micros: int) -> Refusal | None:
        """The first cap that `micros` more would break."""
        caps = (
            (self.caps.per_minute, Reason.MINUTE_BUDGET),
            (self.caps.per_day, Reason.DAY_BUDGET),
            (self.caps.per_tenant_day, Reason.TENANT_BUDGET),
        )
        for (tenant, seconds, period), (cap, reason) in zip(reservation.periods(), caps, strict=True):
            if self._sum(connection, tenant, seconds, period) + micros > _micros(cap):
                return Refusal(reason, (period + 1) * seconds - self._clock())
        return None

    def _count(self, connection: Connection, pool: str | None = None) -> int:
        """Leases under way; those of gateways that died are forgotten first."""
        connection.execute(delete(leases).where(leases.c.heard_at < self._clock() - EXPIRY_S))
        of_pool = [] if pool is None else [leases.c.pool == pool]
        return connection.execute(select(func.count()).select_from(leases).where(*of_pool)).scalar_one()

    @staticmethod
    def _sum(connection: Connection, tenant: str, seconds: int, period: int) -> int:
        where = (spend.c.tenant == tenant, spend.c.seconds == seconds, spend.c.period == period)
        return connection.execute(select(spend.c.micros).where(*where)).scalar_one_or_none() or 0

    @staticmethod
    def _add(connection: Connection, reservation: Reservation, micros: int) -> None:
        for tenant, seconds, period in reservation.periods():
            where = (spend.c.tenant == tenant, spend.c.seconds == seconds, spend.c.period == period)
            if not connection.execute(update(spend).where(*where).values(micros=spend.c.micros + micros)).rowcount:
                connection.execute(insert(spend).values(tenant=tenant, seconds=seconds, period=period, micros=micros))

    async def _thread(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that no other gateway's can cross: each begins by taking its turn."""

        def transaction() -> T:
            with self._mutex, self._engine.begin() as connection:
                connection.execute(update(turn).values(count=turn.c.count + 1))
                return work(connection)

        return await asyncio.to_thread(transaction)


def _micros(usd: float) -> int:
    """USD in whole micro-dollars, rounded up; what floating point adds beyond them is no money."""
    return math.ceil(round(usd * 1e6, 3))
