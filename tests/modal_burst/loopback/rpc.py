"""Plain async methods turned into a servicer of Modal's whole control plane."""

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from grpclib import GRPCError, Status
from grpclib.server import Stream
from modal_proto.api_grpc import ModalClientBase

TASK_HEADER = "x-loopback-task"  # how a container of this stand-in says who it is
ONCE = ("FunctionMap", "FunctionPutInputs")  # a retry of these must not run anything twice: they are answered again by idempotency key


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: a client with a token, or one of our containers."""

    token_id: str | None
    token_secret: str | None
    container: str | None


class Gate(Protocol):
    """Sees every request; raises GRPCError in place of the reply."""

    async def admit(self, rpc: str, caller: Caller) -> None:
        """Called before the request is looked at."""
        ...

    async def release(self, rpc: str, caller: Caller) -> None:
        """Called when it has been done, before the reply is sent."""
        ...


def servicer(gate: Gate, groups: Sequence[object]) -> ModalClientBase:
    """A servicer whose RPCs are the methods of `groups`; one that no group has is answered UNIMPLEMENTED, by name."""
    handlers = {rpc: _handler(rpc, gate, _find(rpc, groups)) for rpc in ModalClientBase.__abstractmethods__}
    return type("LoopbackServicer", (ModalClientBase,), handlers)()


def _find(rpc: str, groups: Sequence[object]) -> Callable[..., Any] | None:
    return next((getattr(group, rpc) for group in groups if hasattr(group, rpc)), None)


def _handler(rpc: str, gate: Gate, method: Callable[..., Any] | None) -> Callable[..., Any]:
    given: dict[str, Any] = {}

    async def handle(_: object, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        if request is None:
            return  # the client went away before it had asked
        caller = _caller(stream)
        await gate.admit(rpc, caller)
        if method is None:
            raise GRPCError(Status.UNIMPLEMENTED, f"LoopbackModal does not know {rpc}")
        if not inspect.isasyncgenfunction(method):
            key = str((stream.metadata or {}).get("x-idempotency-key", ""))
            reply = given.get(key) or await method(request, caller)
            if key and rpc in ONCE:
                given[key] = reply
            await gate.release(rpc, caller)
            await stream.send_message(reply)
            return
        replies: AsyncIterator[Any]
        async with aclosing(method(request, caller)) as replies:
            async for reply in replies:
                await stream.send_message(reply)

    return handle


def _caller(stream: Stream[Any, Any]) -> Caller:
    headers = stream.metadata or {}
    return Caller(
        *(None if (value := headers.get(key)) is None else str(value) for key in ("x-modal-token-id", "x-modal-token-secret", TASK_HEADER))
    )
