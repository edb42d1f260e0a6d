"""What goes wrong on purpose: every rule says which request it meets, what it does, and how often."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from grpclib import GRPCError, Status
from modal_proto import api_pb2
from modal_proto.api_pb2 import GenericResult

from tests.modal_burst.loopback.rpc import Caller


@dataclass
class Rule:
    """Meets `rpc` (None: any) `times` times (None: always): waits `delay_s`, then fails with `status` if there is one.

    after: once the request has been done, so that only its reply is lost.
    """

    rpc: str | None
    times: int | None
    delay_s: float = 0.0
    status: Status | None = None
    message: str = ""
    retry_after_s: float | None = None
    after: bool = False

    def takes(self, rpc: str, after: bool) -> bool:
        """Whether this rule meets the request; counts it if so."""
        if self.rpc not in (None, rpc) or self.times == 0 or self.after != after:
            return False
        if self.times is not None:
            self.times -= 1
        return True

    async def act(self) -> None:
        await asyncio.sleep(self.delay_s)
        if self.status is not None:
            details = None if self.retry_after_s is None else [api_pb2.RPCRetryPolicy(retry_after_secs=self.retry_after_s)]
            raise GRPCError(self.status, self.message, details)


@dataclass
class Ending:
    """The next `times` inputs end with `result` instead of being run."""

    result: GenericResult
    times: int


class Faults:
    """The rules in force. Clients alone meet them: containers talk to their worker, not over the network."""

    def __init__(self, tokens: dict[str, str]) -> None:
        self.tokens = tokens
        self.asked: Counter[str] = Counter()
        self._rules: list[Rule] = []
        self._endings: list[Ending] = []

    async def admit(self, rpc: str, caller: Caller) -> None:
        """Record the request, check its token, and do what the rules say."""
        if caller.container is not None:
            return
        self.asked[rpc] += 1
        if caller.token_id is None:
            raise GRPCError(Status.UNAUTHENTICATED, "no token was sent")
        if self.tokens.get(caller.token_id) != caller.token_secret:
            raise GRPCError(Status.UNAUTHENTICATED, f"token {caller.token_id!r} is not valid")
        await self._meet(rpc, after=False)

    async def release(self, rpc: str, caller: Caller) -> None:
        """Do what the rules say once the request has been done."""
        if caller.container is None:
            await self._meet(rpc, after=True)

    async def _meet(self, rpc: str, *, after: bool) -> None:
        for rule in self._rules:
            if rule.takes(rpc, after):
                await rule.act()

    def fail(self, rpc: str | None, status: Status, message: str = "injected", times: int | None = None) -> None:
        """Answer `rpc` with an error."""
        self._rules.append(Rule(rpc, times, status=status, message=message))

    def lose_reply(self, rpc: str, times: int = 1) -> None:
        """Do what `rpc` asks, and answer with an error all the same."""
        self._rules.append(Rule(rpc, times, status=Status.UNAVAILABLE, message="the reply was lost", after=True))

    def throttle(self, rpc: str | None = "FunctionMap", *, retry_after_s: float | None = None, times: int | None = None) -> None:
        """Answer RESOURCE_EXHAUSTED; with `retry_after_s` the client is told to come back, and it obeys without limit."""
        self._rules.append(Rule(rpc, times, status=Status.RESOURCE_EXHAUSTED, message="throttled", retry_after_s=retry_after_s))

    def delay(self, rpc: str | None, seconds: float, times: int | None = None) -> None:
        """Answer `rpc` late."""
        self._rules.append(Rule(rpc, times, delay_s=seconds))

    def hang(self, rpc: str | None, times: int | None = None) -> None:
        """Never answer `rpc`."""
        self.delay(rpc, 1e9, times)

    def end_calls(
        self, status: "GenericResult.GenericStatus.ValueType", exception: str = "injected", *, data: bytes = b"", times: int = 1
    ) -> None:
        """Let the next `times` inputs end with `status`; `data` is a pickled exception, as a crashed container reports it."""
        self._endings.append(Ending(GenericResult(status=status, exception=exception, data=data), times))

    def ending(self) -> GenericResult | None:
        """The ending that the next input meets, if any."""
        for ending in self._endings:
            if ending.times > 0:
                ending.times -= 1
                return ending.result
        return None

    def clear(self) -> None:
        """Drop all rules."""
        self._rules.clear()
        self._endings.clear()
