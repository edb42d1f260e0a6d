"""Which backend a plan runs on, and what happens when that one is late, is full, or loses it."""

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from deployments.spec.endpoint import Plan
from modal_burst.mirror import with_pulse
from models.errors import BackendFailed, NoPlace, OutOfMemory, Overloaded, ReplicaLost
from models.host import Event, Result
from serve.budget import Refusal, Reservation
from serve.estimator import HERE, THERE
from serve.fallbacks import Fallback
from serve.foresight import Foresight, Outlook, Ticket
from serve.overflow import SETTLED, Decision, Mode, Offer, Reason, Route, Situation, alone, decide, instead

if TYPE_CHECKING:
    from serve.burst import Bursts

log = logging.getLogger("ryla.dispatch")

LOOK_AGAIN_S: Final = 1.0  # a call that waits here may turn out to be late, or the mirror to be back
RESERVE_TRIES: Final = 3
HOLDS: Final = {Route.CLUSTER: (0, 1, 2), Route.WHOLE: (), Route.PART: (1, 2), Route.FALLBACK: (), Route.NONE: ()}  # stages that run here
NAMES: Final = {Route.CLUSTER: HERE, Route.WHOLE: THERE, Route.PART: f"{THERE}+{HERE}"}
NOWHERE: Final = "no capacity for this call within its deadline ({why}); try again later or allow more time"
WHY: Final = {
    Reason.ASKED: "the queue here is too long and X-Burst: never keeps it from elsewhere",
    Reason.OFF: "the queue here is too long",
    Reason.NOT_MIRRORED: "the queue here is too long, and this model runs nowhere else",
    Reason.NO_GAIN: "neither here nor elsewhere could it be done in time",
}


class Cluster(Protocol):
    """The `cluster` backend."""

    @property
    def name(self) -> str:
        """`cluster`."""
        ...

    def run(self, plan: Plan, *, deadline: float | None, first: str = HERE) -> AsyncGenerator[Event, None]:
        """Run `plan`; the first stage of two on the mirror if `first` says so."""
        ...


@dataclass(frozen=True, slots=True)
class Ask:
    """What the call's sender may choose. fallback: where it may go when neither here nor the mirror will do; direct: where it must go."""

    tenant: str = ""
    mode: Mode = Mode.AUTO
    fallback: Fallback | None = None
    direct: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to run a plan. money: set aside for it, outside. elsewhere: whether the cluster would do as well."""

    route: Route
    reason: Reason
    name: str
    money: Reservation | None = None
    elsewhere: bool = True


@dataclass(frozen=True, slots=True)
class Sent:
    """One call, as the dispatcher knows it."""

    plan: Plan
    deadline: float | None
    ask: Ask
    ticket: Ticket

    def left_s(self) -> float:
        """Seconds until the deadline."""
        return float("inf") if self.deadline is None else self.deadline - time.time()


Observe = Callable[[Plan, Decision], None]


class Dispatcher:
    """Sends each plan where it is done in time, and once more, at most, when that backend loses it: same seed, same pixels."""

    def __init__(self, cluster: Cluster, foresight: Foresight, bursts: "Bursts | None" = None, observe: Observe | None = None) -> None:
        self._cluster = cluster
        self._foresight = foresight
        self._bursts = bursts
        self._observe = observe

    async def run(
        self, plan: Plan, *, deadline: float | None, on_start: Callable[[str, str], None], ask: Ask | None = None
    ) -> AsyncGenerator[Event, None]:
        """Run `plan`; `on_start` is told the backend's name and the reason at each attempt. Raises Overloaded when it fits nowhere."""
        ask = ask or Ask()
        if self._bursts is not None:
            await self._bursts.wake(wait=ask.mode is Mode.FORCE)
        async with self._foresight.ticket(plan) as ticket:
            call = Sent(plan, deadline, ask, ticket)
            attempt, again = await self._decide(call), False
            try:
                while True:
                    now = attempt
                    on_start(now.name, now.reason)
                    try:
                        await ticket.hold([index for index in HOLDS[now.route] if index < len(plan.stages)])
                        async with aclosing(self._events(call, now, movable=not again)) as events:
                            async for event in events:
                                if isinstance(event, Attempt):
                                    attempt = event
                                    break  # closes the stream, which takes the call out of the line here before it is sent elsewhere
                                yield event
                        if attempt is now:
                            return
                    except (Overloaded, OutOfMemory, NoPlace) as error:
                        if again:
                            raise
                        again, attempt = True, await self._after(error, call, now)
            finally:
                await self._give_up(call, attempt)

    def _events(self, call: Sent, attempt: Attempt, *, movable: bool) -> "AsyncGenerator[Event | Attempt, None]":
        if attempt.money is None:
            somewhere = self._bursts is not None or call.ask.fallback is not None
            return self._here(call, movable=movable and call.ask.mode is Mode.AUTO and somewhere)
        if attempt.route is Route.FALLBACK:
            assert call.ask.fallback is not None
            return call.ask.fallback.run(attempt.money, deadline=call.deadline)
        assert self._bursts is not None
        return self._bursts.run(call.plan, attempt.route, attempt.money, deadline=call.deadline)

    async def _give_up(self, call: Sent, attempt: Attempt) -> None:
        """Return what was set aside for an attempt that did not begin."""
        if attempt.money is not None and attempt.route is Route.FALLBACK and call.ask.fallback is not None:
            await call.ask.fallback.give_up(attempt.money)
        elif attempt.money is not None and self._bursts is not None:
            await self._bursts.give_up(call.plan, attempt.route, attempt.money)

    async def _here(self, call: Sent, *, movable: bool) -> "AsyncGenerator[Event | Attempt, None]":
        """Run on the cluster. While nothing is heard the call may still wait, and be late: then the last item is where it goes instead."""
        heard = False
        source = self._cluster.run(call.plan, deadline=call.deadline)
        async with aclosing(source), aclosing(with_pulse(source, LOOK_AGAIN_S)) as events:
            async for event in events:
                if event is not None:
                    heard = True
                    if isinstance(event, Result):
                        self._foresight.estimator.learn(call.plan, [HERE] * len(event.stages), event.stages)
                    yield event
                elif movable and not heard and (elsewhere := await self._move(call)) is not None:
                    yield elsewhere
                    return

    async def _move(self, call: Sent) -> Attempt | None:
        """Where a call that waits here should go instead, if anywhere."""
        outlook = await self._foresight.outlook(call.plan, call.ticket)
        if outlook.wait_s <= 0:
            return None
        decision, money = await self._choose(call, outlook)
        if money is None:
            return None
        if decision.route is not Route.FALLBACK:
            decision = replace(decision, reason=Reason.MOVED)
        return self._attempt(call, decision, money)

    async def _after(self, error: Exception, call: Sent, tried: Attempt) -> Attempt:
        """Where to try once more. Raises `error` when that would not help or is not wanted."""
        lost_here = isinstance(error, ReplicaLost) and not isinstance(error, BackendFailed)
        if call.ask.direct or not tried.elsewhere or call.left_s() <= 0:
            raise error
        if tried.route is Route.FALLBACK:
            log.warning("%s failed a call, which is sent to the cluster: %s", tried.name, error)
            return Attempt(Route.CLUSTER, Reason.FALLBACK_FAILED, HERE)
        if lost_here and tried.route is not Route.WHOLE:
            log.warning("a replica died under a call; it is sent once more")
            return Attempt(Route.CLUSTER, Reason.LOST, HERE)
        if tried.route is not Route.CLUSTER and call.ask.mode is not Mode.FORCE:
            log.warning("the mirror failed a call, which is sent to the cluster: %s", error)
            return Attempt(Route.CLUSTER, Reason.MIRROR_FAILED, HERE)
        if tried.route is Route.CLUSTER and isinstance(error, Overloaded | NoPlace):
            return await self._decide(call, refused=error)
        raise error

    async def _decide(self, call: Sent, *, refused: Overloaded | NoPlace | None = None) -> Attempt:
        """Where the call goes. Raises Overloaded when that is nowhere for now, NoPlace when it is nowhere at all."""
        outlook = await self._foresight.outlook(call.plan, call.ticket)
        decision, money = await self._choose(call, outlook, refused)
        if decision.route is Route.NONE:
            self._tell(call, decision)
            if isinstance(refused, NoPlace) and decision.reason in SETTLED:
                raise refused
            raise Overloaded(NOWHERE.format(why=WHY.get(decision.reason, f"elsewhere: {decision.reason}")), decision.retry_after_s)
        return self._attempt(call, decision, money)

    def _attempt(self, call: Sent, decision: Decision, money: Reservation | None) -> Attempt:
        self._tell(call, decision)
        fallback = call.ask.fallback if decision.route is Route.FALLBACK else None
        name = NAMES[decision.route] if fallback is None else fallback.name
        return Attempt(decision.route, decision.reason, name, money, decision.fits_here)

    async def _choose(self, call: Sent, outlook: Outlook, refused: Exception | None = None) -> tuple[Decision, Reservation | None]:
        """Decide, and take the offer up. An offer that proves refused is decided upon again."""
        situation = Situation(
            mode=call.ask.mode,
            wait_s=outlook.wait_s,
            service_s=outlook.service_s,
            left_s=call.left_s(),
            late_s=outlook.late_s,
            sure=outlook.sure,
            full=refused is not None,
            placed=not isinstance(refused, NoPlace),
        )
        for _ in range(RESERVE_TRIES):
            decision = self._decided(call, situation, outlook)
            if decision.offer is None:
                return decision, None
            answer = await self._reserve(call, decision, decision.offer)
            if isinstance(answer, Reservation):
                return decision, answer
        return decide(situation, lambda: [Offer(Route.WHOLE, 0.0, 0.0, Reason.SLOTS)]), None

    def _decided(self, call: Sent, situation: Situation, outlook: Outlook) -> Decision:
        fallback = call.ask.fallback
        if call.ask.direct and fallback is not None:
            return alone(situation, fallback.offer())
        decision = decide(situation, lambda: self._offers(call, outlook))
        return decision if fallback is None else instead(decision, situation, fallback.offer())

    async def _reserve(self, call: Sent, decision: Decision, offer: Offer) -> Reservation | Refusal:
        if decision.route is Route.FALLBACK:
            assert call.ask.fallback is not None
            return await call.ask.fallback.reserve()
        assert self._bursts is not None
        return await self._bursts.reserve(call.plan, call.ask.tenant, offer)

    def _offers(self, call: Sent, outlook: Outlook) -> list[Offer]:
        off = [Offer(Route.WHOLE, 0.0, 0.0, Reason.OFF)]
        return off if self._bursts is None else self._bursts.offers(call.plan, call.ask.tenant, second_here_s=outlook.second_s)

    def _tell(self, call: Sent, decision: Decision) -> None:
        log.info("%s goes to %s: %s", "+".join(stage.deployment for stage in call.plan.stages), decision.route, decision.reason)
        if self._observe is not None:
            self._observe(call.plan, decision)
