"""Tasks, plans and what comes back, as the plain values that CBOR carries; strict in both directions and free of pickle.

A dataclass becomes a map with its class name under "kind" and every field; only the classes listed here cross. Pictures travel as
PNG, other arrays as dtype, shape and bytes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

import models.task
from deployments.spec.endpoint import Plan, Stage
from models.errors import NotConfigured, RylaError
from models.media import Encoding, Limits, read_image, write_image
from models.runner import Card, Finished, Progress
from models.task import FaceChoice, FaceMask, LoraUse, SourceFace, Task

Wire: TypeAlias = "bool | int | float | str | bytes | list[Wire] | dict[str, Wire] | None"
T = TypeVar("T")

TASKS: Final = tuple(c for c in vars(models.task).values() if isinstance(c, type) and issubclass(c, Task) and c is not Task)
PARTS: Final = (LoraUse, FaceChoice, SourceFace, FaceMask)
KINDS: Final[Mapping[str, type]] = {c.__name__: c for c in (*TASKS, *PARTS, Stage, Plan, Encoding, Progress, Card, Finished)}
DTYPES: Final = ("|b1", "|u1", "<i4", "<i8", "<f4", "<f8")
MAX_ARRAY_BYTES: Final = 256 * 1024**2
PICTURE_LIMITS: Final = Limits(max_bytes=MAX_ARRAY_BYTES, max_pixels=MAX_ARRAY_BYTES // 3, max_frames=1, max_seconds=1.0)


class _Mismatch(NotConfigured):
    """Data that is not of the expected type: the other side runs other code."""


def pack(value: object) -> Wire:
    """`value` as plain data. Raises TypeError for what may not cross: that is a mistake in the program."""
    match value:
        case None | bool() | int() | float() | str() | bytes():
            return value
        case np.ndarray():
            return _pack_array(cast(NDArray[Any], value))
        case tuple() | list():
            return [pack(item) for item in cast(list[object], value)]
        case Mapping():
            return {str(key): pack(item) for key, item in cast(Mapping[object, object], value).items()}
        case _ if KINDS.get(type(value).__name__) is type(value):
            return {"kind": type(value).__name__} | {name: pack(getattr(value, name)) for name in _hints(type(value))}
        case _:
            raise TypeError(f"{type(value).__name__} does not cross the wire; list its class in modal_burst/wire.py")


def unpack(hint: type[T], data: object) -> T:
    """The value of type `hint` in `data`. Raises NotConfigured when it is not exactly that."""
    return cast(T, _unpack(hint, data, hint.__name__))


def _unpack(hint: Any, data: object, where: str) -> object:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _unpack_any(args, data, where)
    if origin is Literal:
        return _need(data in args and isinstance(data, str), data, where, f"one of {args}")
    if origin is tuple:
        items = cast(list[object], _need(isinstance(data, list), data, where, "a list"))
        return tuple(_unpack(args[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if origin in (dict, Mapping):
        entries = cast(dict[object, object], _need(isinstance(data, dict), data, where, "a map"))
        return {_unpack(args[0], key, where): _unpack(args[1], item, f"{where}[{key!r}]") for key, item in entries.items()}
    if origin is np.ndarray:
        return _unpack_array(data, where)
    if isinstance(hint, type) and is_dataclass(hint):
        return _unpack_dataclass(hint, data, where)
    if hint is float:
        return _need(isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data), data, where, "a number")
    if hint is int:
        return _need(isinstance(data, int) and not isinstance(data, bool), data, where, "an integer")
    return _need(isinstance(data, hint), data, where, hint.__name__)


def _unpack_any(hints: tuple[Any, ...], data: object, where: str) -> object:
    for hint in hints:
        try:
            return None if hint is NoneType and data is None else _unpack(hint, data, where)
        except _Mismatch:
            continue
    raise _wrong(where, "one of several types", data)


def _unpack_dataclass(hint: type, data: object, where: str) -> object:
    entries = dict(cast(dict[str, object], _need(isinstance(data, dict), data, where, f"a {hint.__name__}")))
    kind = KINDS.get(str(entries.pop("kind", None)))
    if kind is None or not issubclass(kind, hint):
        raise _wrong(where, f"a {hint.__name__}", data)
    hints = _hints(kind)
    if entries.keys() != hints.keys():
        raise _Mismatch(f"{where} differs from {kind.__name__} in {sorted(entries.keys() ^ hints.keys())}")
    try:
        return cast(Callable[..., object], kind)(**{name: _unpack(hints[name], item, f"{where}.{name}") for name, item in entries.items()})
    except ValueError as error:
        raise _Mismatch(f"{where}: {error}") from error


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _pack_array(array: NDArray[Any]) -> Wire:
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
        return {"png": write_image(array, "png")}
    if array.dtype.str not in DTYPES:
        raise TypeError(f"an array of {array.dtype} does not cross the wire")
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": np.ascontiguousarray(array).tobytes()}


def _unpack_array(data: object, where: str) -> NDArray[Any]:
    match data:
        case {"png": bytes(png), **rest} if not rest:
            try:
                return read_image(png, where, PICTURE_LIMITS)
            except RylaError as error:
                raise _Mismatch(error.message) from error
        case {"dtype": str(name), "shape": sides, "data": bytes(raw), **rest} if not rest and name in DTYPES:
            shape = cast(tuple[int, ...], _unpack(tuple[int, ...], sides, where))
            if len(raw) > MAX_ARRAY_BYTES or min(shape, default=1) < 0 or math.prod(shape) * np.dtype(name).itemsize != len(raw):
                raise _Mismatch(f"{where}: {len(raw)} bytes are no {name} array of shape {shape}")
            return np.frombuffer(raw, name).reshape(shape).copy()
        case _:
            raise _wrong(where, "an array", data)


def _need(holds: bool, data: object, where: str, wanted: str) -> object:
    if not holds:
        raise _wrong(where, wanted, data)
    return data


def _wrong(where: str, wanted: str, data: object) -> _Mismatch:
    """Names the type alone: the value may be a prompt or a face."""
    return _Mismatch(f"{where} must be {wanted}, got {type(data).__name__}; both sides must run the same version")
