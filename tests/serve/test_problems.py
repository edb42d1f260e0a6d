import json
import pickle

import pytest

from models import errors
from models.errors import DeadlineExceeded, NoFaceFound, NotLicensed, Overloaded, ReplicaLost, Retired, RylaError
from serve.catalogue import PROBLEMS
from serve.problems import STATUS, problem, status_of

FAMILY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RylaError)]


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_survives_pickle_and_has_a_status(kind: type[RylaError]):
    again = pickle.loads(pickle.dumps(kind("what is wrong", 3.0)))
    assert type(again) is kind
    assert again.args == ("what is wrong", 3.0)
    if kind is not RylaError:
        assert 400 <= status_of(again) < 600
        assert status_of(again) != 500


def test_a_subclass_has_the_status_of_its_nearest_listed_class():
    assert status_of(NoFaceFound("x")) == 400
    assert status_of(NotLicensed("x")) == 403
    assert status_of(ReplicaLost("x")) == 503
    assert status_of(DeadlineExceeded("x")) == 504
    assert 422 not in STATUS.values()


def test_the_body_has_both_keys_callers_read_and_no_traceback():
    reply = problem(Overloaded("busy", 2.3), "job_1")
    body = json.loads(bytes(reply.body))
    assert body == {"error": "busy", "detail": "busy", "type": "Overloaded", "job_id": "job_1"}
    assert reply.headers["retry-after"] == "3"


def test_an_unforeseen_error_says_nothing_of_the_inside():
    reply = problem(ValueError("/secret/path"), "job_1")
    assert reply.status_code == 500
    assert b"secret" not in bytes(reply.body)


def test_a_retired_endpoint_names_its_replacement():
    assert json.loads(bytes(problem(Retired("gone", "/wan2.6")).body))["replacement"] == "/wan2.6"


def test_openapi_tells_of_every_status_a_caller_can_see():
    unseen = {410, 499}  # of retired paths, which declare their own, and of callers who have left
    assert {str(status) for status in {500, *STATUS.values()} - unseen} == set(PROBLEMS)
