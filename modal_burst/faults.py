"""Why a call of the mirror failed: the model's errors as data, the client library's as kinds that a circuit breaker can go by."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, cast

import models.errors
from modal_burst.wire import Wire
from models.errors import BackendFailed, Cancelled, DeadlineExceeded, FaultKind, NotConfigured, RylaError

log = logging.getLogger("ryla.burst")

FAMILY: Final[Mapping[str, type[RylaError]]] = {
    name: kind for name, kind in vars(models.errors).items() if isinstance(kind, type) and issubclass(kind, RylaError)
}


def kind_of(error: BaseException) -> FaultKind:
    """What an error says about the backend that raised it."""
    match error:
        case BackendFailed():
            return error.kind
        case DeadlineExceeded():
            return FaultKind.DEADLINE
        case Cancelled() | asyncio.CancelledError() | GeneratorExit():
            return FaultKind.CANCELLED
        case NotConfigured():
            return FaultKind.CONFIG
        case RylaError():
            return FaultKind.MODEL
        case _:
            return FaultKind.INFRA


def pack_error(error: BaseException) -> Wire:
    """An error as data. One that nobody foresaw is logged here, where it happened, and crosses without its text."""
    if not isinstance(error, RylaError):
        log.error("a call failed unforeseen", exc_info=error)
        return {
            "type": "BackendFailed",
            "args": [f"the mirror failed with {type(error).__name__}; its log says more", None, FaultKind.INFRA],
        }
    name = next(kind.__name__ for kind in type(error).__mro__ if FAMILY.get(kind.__name__) is kind)
    args = [arg for arg in error.args if isinstance(arg, str | int | float | bool | None)]
    return {"type": name, "args": list[Wire](args)}


def unpack_error(data: object) -> RylaError:
    """The error in `data`: of the class it names if that is one of ours, with plain arguments alone."""
    match data:
        case {"type": str(name), "args": list()}:
            args = cast(list[object], cast(Mapping[str, object], data)["args"])
            if name in FAMILY and all(isinstance(arg, str | int | float | bool | None) for arg in args):
                return FAMILY[name](*args)
        case _:
            pass
    return BackendFailed("the mirror answered with an error of a class that is not known here", None, FaultKind.CONFIG)


def translated(error: BaseException) -> RylaError:
    """What the client library raised, as one of ours. Errors that the model raised never come this way: they are data."""
    from modal import exception as modal

    match error:
        case RylaError():
            return error
        case modal.AuthError() | modal.PermissionDeniedError():
            return BackendFailed(f"the platform refuses our token: {_line(error)}", None, FaultKind.CONFIG)
        case modal.NotFoundError():
            return BackendFailed(f"the mirror is not deployed: {_line(error)}", None, FaultKind.CONFIG)
        case modal.ResourceExhaustedError():
            return BackendFailed("the platform asks for fewer calls", _retry_after_s(error), FaultKind.THROTTLED)
        case modal.FunctionTimeoutError():
            return DeadlineExceeded("the mirror stopped the call at its own time limit")
        case modal.InvalidError() | modal.UnimplementedError() | modal.VersionError() | modal.DeserializationError():
            return BackendFailed(f"the client library and the platform disagree: {_line(error)}", None, FaultKind.CONFIG)
        case _:
            return BackendFailed(f"the platform lost the call ({type(error).__name__}: {_line(error)})", None, FaultKind.INFRA)


def _line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]


def _retry_after_s(error: BaseException) -> float | None:
    details = cast(list[object] | None, getattr(error, "_grpc_details", None)) or []
    found = [cast(float, getattr(detail, "retry_after_secs", 0.0)) for detail in details]
    return max(found, default=0.0) or None


def bad_manifest(mine: str, theirs: object) -> RylaError:
    """The two sides run different code."""
    return BackendFailed(
        f"this side runs version {mine}, the other {theirs}; deploy both from the same commit, in the same profile", None, FaultKind.CONFIG
    )
