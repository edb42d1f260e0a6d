"""Why a call of fal failed, as one of our errors. What fal writes is never passed on: it quotes the prompt."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import httpx

from models.errors import BackendFailed, FaultKind, Refused, RylaError

THROTTLED: Final = (408, 409, 425, 429)
REFUSALS: Final = ("content_policy", "safety", "nsfw", "moderation")  # parts of the words by which its models refuse content
START_TIMEOUT: Final = "x-fal-request-timeout-type"
REFUSED: Final = "fal's safety check refuses this call; word it otherwise, or mark it as NSFW, and it stays away from there"


def translated(error: BaseException) -> RylaError:
    """What the client library raised, as one of ours."""
    from fal_client.client import FalClientHTTPError

    match error:
        case RylaError():
            return error
        case FalClientHTTPError():
            return _answered(error.status_code, error.response.headers, _words(error.response))
        case TimeoutError() | httpx.TimeoutException():
            return BackendFailed("fal did not answer in time", None, FaultKind.INFRA)
        case httpx.HTTPError():
            return BackendFailed(f"fal cannot be reached ({type(error).__name__})", None, FaultKind.INFRA)
        case KeyError() | ValueError() | TypeError() | AttributeError():
            return unknown_form()
        case _:
            return BackendFailed(f"fal's client failed ({type(error).__name__})", None, FaultKind.INFRA)


def unknown_form() -> BackendFailed:
    """An answer that nobody here can read."""
    return BackendFailed("fal answers in a form that is not known here", None, FaultKind.CONFIG)


def was_answered(error: RylaError) -> bool:
    """Whether fal itself said no, so that nothing was made and nothing is charged."""
    from fal_client.client import FalClientHTTPError

    return isinstance(error.__cause__, FalClientHTTPError)


def was_not_sent(error: RylaError) -> bool:
    """Whether a request has not even reached fal."""
    return isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)


def _answered(status: int, headers: Mapping[str, str], words: Iterable[str]) -> RylaError:
    if status in (401, 402, 403):
        return BackendFailed(f"fal refuses our key or our account ({status})", None, FaultKind.CONFIG)
    if status in (404, 405):
        return BackendFailed(f"fal has no such model ({status})", None, FaultKind.CONFIG)
    if status in THROTTLED:
        return BackendFailed(f"fal asks for fewer calls ({status})", _seconds(headers.get("retry-after")), FaultKind.THROTTLED)
    if status < 500:
        if any(part in word for word in words for part in REFUSALS):
            return Refused(REFUSED)
        return BackendFailed(f"fal refuses the call's input ({status})", None, FaultKind.MODEL)
    if START_TIMEOUT in headers:
        return BackendFailed("fal had no free machine before the deadline", None, FaultKind.DEADLINE)
    return BackendFailed(f"fal failed ({status})", None, FaultKind.INFRA)


def _words(response: httpx.Response) -> list[str]:
    """The kinds of error that the answer names, without any text."""
    found = [response.headers.get("x-fal-error-type", "")]
    try:
        body: Any = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return found
    if isinstance(body, dict):
        named = cast(dict[str, Any], body)
        details = named.get("detail")
        found.append(str(named.get("error_type", "")))
        found += (
            [str(cast(dict[str, Any], one).get("type", "")) for one in details if isinstance(one, dict)]
            if isinstance(details, list)
            else []
        )
    return found


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None
