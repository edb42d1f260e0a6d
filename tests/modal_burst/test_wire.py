"""Every task and plan crosses the wire and comes back the same; anything else is refused."""

import dataclasses
from types import UnionType
from typing import Literal, Union, get_args, get_origin, get_type_hints

import cbor2
import numpy as np
import pytest

from deployments.spec.endpoint import Plan, Stage
from modal_burst.wire import KINDS, TASKS, pack, unpack
from models.errors import NotConfigured
from models.media import Encoding
from models.runner import Card, Finished, Progress
from models.task import SwapFaces, Task, TextToImage

NOISE = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)


def example(hint):
    """A value of this type with nothing left at its default: for a dataclass, one with every field filled."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return args[-1]
    if origin is tuple:
        return (example(args[0]), example(args[0]))
    if origin in (Union, UnionType):
        return example(args[0])
    if origin is np.ndarray:
        return NOISE
    if dataclasses.is_dataclass(hint):
        return hint(**{name: example(kind) for name, kind in get_type_hints(hint).items()})
    return {int: 2**53 - 1, float: 0.1, str: "a lighthouse — 灯台", bytes: b"\x00clip\xff", bool: True}[hint]


EXAMPLES = {task.__name__: example(task) for task in TASKS}
SPARSE = {
    "nothing given": TextToImage(seed=0, prompt="", width=1, height=1, steps=1, guidance=7),
    "frames come from elsewhere": SwapFaces(source=NOISE),
}
TASK_CASES = EXAMPLES | SPARSE


def same(left, right):
    """Equal in value and type, arrays to the bit."""
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and left.dtype == right.dtype and np.array_equal(left, right)
    if dataclasses.is_dataclass(left):
        return type(left) is type(right) and all(same(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left))
    if isinstance(left, tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def across(value, hint=None):
    return unpack(hint or type(value), cbor2.loads(cbor2.dumps(pack(value))))


@pytest.mark.parametrize("task", TASK_CASES.values(), ids=TASK_CASES)
def test_tasks_come_back_the_same(task):
    assert same(across(task, Task), task)


@pytest.mark.parametrize("task", TASK_CASES.values(), ids=TASK_CASES)
def test_plans_come_back_the_same(task):
    encoding = Encoding(format="mp4", fps=16, audio=b"sound")
    plan = Plan(
        stages=(Stage("a", task), Stage("b", EXAMPLES["SwapFaces"])),
        encoding=encoding,
        units=(1.0, 5),
        facts={"fps": 16.5, "n": 1, "x": True},
    )
    assert same(across(plan), plan)


@pytest.mark.parametrize(
    "value", [Progress("denoise", 1, 4), Finished({"faces": 1, "codec": "h264"}, 1.5, {"denoise": 1}, Card("L40S", 0.5))]
)
def test_what_comes_back_comes_back_the_same(value):
    assert same(across(value), value)


def test_other_arrays_travel_as_they_are():
    @dataclasses.dataclass(frozen=True)
    class Masked:
        mask: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

    mask = np.eye(5, dtype=np.uint8)
    packed = pack(mask)
    assert np.array_equal(unpack(get_args(tuple[Masked.__annotations__["mask"]])[0], cbor2.loads(cbor2.dumps(packed))), mask)


def test_only_listed_classes_cross():
    @dataclasses.dataclass
    class Stranger:
        x: int = 1

    Impostor = dataclasses.make_dataclass("Progress", ["stage"])
    for value in (Stranger(), Impostor("denoise"), object(), {1, 2}, np.array(["text"])):
        with pytest.raises(TypeError, match="cross"):
            pack(value)


def changed(**changes):
    data = pack(EXAMPLES["TextToImage"])
    return {key: value for key, value in (data | changes).items() if value is not ...}


@pytest.mark.parametrize(
    "data",
    [
        changed(surprise=1),
        changed(seed=...),
        changed(seed=True),
        changed(seed=1.5),
        changed(guidance="7"),
        changed(guidance=float("nan")),
        changed(prompt=b"bytes"),
        changed(loras={}),
        changed(loras=["film"]),
        changed(kind="Progress"),
        changed(kind="Exception"),
        changed(kind=...),
        [],
        None,
        "TextToImage",
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(NotConfigured):
        unpack(Task, data)


@pytest.mark.parametrize(
    "face",
    [
        None,
        b"PNG",
        {"png": b"not a picture"},
        {"png": b"", "more": 1},
        {"dtype": "|O", "shape": [1], "data": b"x" * 8},
        {"dtype": "|u1", "shape": [2, 2, 3], "data": b"x"},
        {"dtype": "|u1", "shape": [-1, -12], "data": b"x" * 12},
        {"dtype": "|u1", "shape": [2**70], "data": b""},
    ],
)
def test_arrays_that_are_not_what_they_say_are_refused(face):
    with pytest.raises(NotConfigured):
        unpack(Task, pack(EXAMPLES["FaceToImage"]) | {"face": face})


def test_a_refusal_does_not_quote_what_it_refuses():
    with pytest.raises(NotConfigured) as refused:
        unpack(Task, changed(width="a very private prompt"))
    assert "private" not in str(refused.value)
    assert "width" in str(refused.value)


def test_a_plan_that_contradicts_itself_is_refused():
    plan = Plan(stages=(Stage("a", EXAMPLES["Upscale"]),), encoding=Encoding(format="png"), units=(1.0,))
    with pytest.raises(NotConfigured, match="one to three stages"):
        unpack(Plan, pack(plan) | {"units": [1.0, 2.0]})


def test_names_on_the_wire_are_unique():
    assert len({cls.__name__ for cls in KINDS.values()}) == len(KINDS)
