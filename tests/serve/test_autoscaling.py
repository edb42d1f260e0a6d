"""How many replicas a backlog asks for: a table, and the policy as Serve calls it."""

from types import SimpleNamespace
from typing import Any

import pytest

from serve.autoscaling import PredictedWork, replicas_wanted
from serve.ledger import Backlog

CASES = [
    # seconds, calls, begun, target_wait_s, slots, wanted
    ("nothing is outstanding", 0.0, 0, 0, 10, 1, 0),
    ("one call, however long, needs one replica", 900.0, 1, 1, 10, 1, 1),
    ("a call too short to be predicted needs one too", 0.0, 1, 0, 10, 1, 1),
    ("the last of two begins in time on one", 20.0, 2, 1, 10, 1, 1),
    ("one second too late for one", 22.0, 2, 1, 10, 1, 2),
    ("a long line of short calls", 100.0, 101, 1, 10, 1, 10),
    ("the same line where a replica runs four at once", 100.0, 101, 4, 10, 4, 3),
    ("never more replicas than calls", 5000.0, 3, 1, 1, 1, 3),
    ("nor than calls fill", 5000.0, 9, 4, 1, 4, 3),
    ("replicas that work are kept though the line is short", 4.0, 4, 4, 60, 1, 4),
    ("those that work on several calls are fewer", 4.0, 4, 4, 60, 4, 1),
    ("a target of no wait at all", 10.0, 5, 1, 0, 1, 5),
]


@pytest.mark.parametrize(
    ("seconds", "calls", "begun", "target_wait_s", "slots", "wanted"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_replicas_wanted(seconds: float, calls: int, begun: int, target_wait_s: float, slots: int, wanted: int):
    assert replicas_wanted(Backlog(seconds, calls, begun), target_wait_s=target_wait_s, slots=slots) == wanted


def context(**fields: Any) -> Any:
    return SimpleNamespace(deployment_name="m", target_num_replicas=3, **fields)


def test_the_policy_asks_for_what_the_ledger_calls_for():
    policy = PredictedWork(10, 1, {"m": Backlog(100.0, 101, 1)}.get)
    assert policy(context()) == (10, {})


def test_the_policy_changes_nothing_while_the_ledger_is_silent():
    policy = PredictedWork(10, 1, lambda _: None)
    assert policy(context()) == (3, {})
