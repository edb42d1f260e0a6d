"""Keeps the client library from unpickling what the platform sends: a pickle runs whatever code its sender put into it.

We send and ask for CBOR, but the library also opens pickles: exceptions of a container that could not start, and anything that an
answer labels as one. modal 1.6.4 has no switch for that, so its two references to the function are replaced.
"""

import weakref
from collections.abc import Callable
from typing import Any

import modal
from modal import _serialization  # pyright: ignore[reportPrivateUsage]
from modal._utils import async_utils, function_utils  # pyright: ignore[reportPrivateUsage]
from modal.exception import DeserializationError

_guarded: "weakref.WeakSet[Any]" = weakref.WeakSet()


def refuse_pickles(client: modal.Client) -> None:
    """From now on, whatever arrives pickled through `client` raises DeserializationError and is not looked at. Others are unaffected."""
    _guarded.add(async_utils.synchronizer._translate_in(client))  # pyright: ignore[reportPrivateUsage]
    for module in (_serialization, function_utils):
        opened: Callable[[bytes, Any], Any] = module.deserialize
        if opened is not _deserialize:
            setattr(module, "deserialize", _deserialize)  # noqa: B010 - the module's type has it read-only


_original: Callable[[bytes, Any], Any] = _serialization.deserialize


def _deserialize(data: bytes, client: Any) -> Any:
    if client in _guarded:
        raise DeserializationError("a pickled answer was refused; its sender's log says what it was")
    return _original(data, client)
