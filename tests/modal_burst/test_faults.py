"""Errors as data, and what the client library raises as kinds that a breaker can go by."""

import asyncio
import logging
import pickle

import cbor2
import pytest
from grpclib.exceptions import StreamTerminatedError
from modal import exception as modal
from modal_proto import api_pb2

import models.errors
from modal_burst.faults import FAMILY, kind_of, pack_error, translated, unpack_error
from modal_burst.wire import unpack
from models.errors import BackendFailed, BadMedia, Cancelled, DeadlineExceeded, FaultKind, NoFaceFound, NotConfigured, Overloaded, RylaError
from models.task import Task


@pytest.mark.parametrize("kind", FAMILY.values(), ids=FAMILY)
def test_every_error_of_ours_crosses_with_its_class_and_arguments(kind):
    args = ("why", 1.5, FaultKind.CONFIG) if kind is BackendFailed else ("why", 2)
    back = unpack_error(cbor2.loads(cbor2.dumps(pack_error(kind(*args)))))
    assert type(back) is kind
    assert back.args == args


def test_an_error_of_a_private_class_crosses_as_its_nearest_known_one():
    with pytest.raises(NotConfigured) as raised:
        unpack(Task, [])
    assert type(unpack_error(pack_error(raised.value))) is NotConfigured


def test_foreign_errors_cross_without_their_text_and_are_logged(caplog):
    with caplog.at_level(logging.ERROR, "ryla.burst"):
        back = unpack_error(pack_error(ValueError("a secret path")))
    assert kind_of(back) is FaultKind.INFRA
    assert "secret" not in str(back)
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        None,
        {"type": "BadMedia"},
        {"type": "SystemExit", "args": []},
        {"type": "FaultKind", "args": ["config"]},
        {"type": "BadMedia", "args": [["x"]]},
        {"type": "BadMedia", "args": [b"pickle"]},
        {"type": ["BadMedia"], "args": []},
        b"cposix\nsystem\n",
    ],
)
def test_what_is_not_an_error_of_ours_is_refused(data):
    assert kind_of(unpack_error(data)) is FaultKind.CONFIG


def throttled(retry_after_s=None):
    error = modal.ResourceExhaustedError("slow down")
    if retry_after_s is not None:
        error._grpc_details = [api_pb2.RPCRetryPolicy(retry_after_secs=retry_after_s)]
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (modal.AuthError("bad token"), FaultKind.CONFIG),
        (modal.PermissionDeniedError("no"), FaultKind.CONFIG),
        (modal.NotFoundError("no app"), FaultKind.CONFIG),
        (modal.InvalidError("x"), FaultKind.CONFIG),
        (modal.UnimplementedError("x"), FaultKind.CONFIG),
        (modal.DeserializationError("pickle"), FaultKind.CONFIG),
        (throttled(), FaultKind.THROTTLED),
        (modal.ConnectionError("down"), FaultKind.INFRA),
        (modal.ServiceError("down"), FaultKind.INFRA),
        (modal.InternalError("down"), FaultKind.INFRA),
        (modal.InternalFailure("lost"), FaultKind.INFRA),
        (modal.RemoteError("OOM"), FaultKind.INFRA),
        (modal.ClientClosed(1), FaultKind.INFRA),
        (modal.FunctionTimeoutError("long"), FaultKind.DEADLINE),
        (StreamTerminatedError("frozen"), FaultKind.INFRA),
        (ConnectionRefusedError(111, "refused"), FaultKind.INFRA),
        (TimeoutError(), FaultKind.INFRA),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_client_library_raises(error, kind):
    ours = translated(error)
    assert kind_of(ours) is kind
    assert kind_of(pickle.loads(pickle.dumps(ours))) is kind


def test_a_throttled_call_knows_when_to_come_back_if_the_platform_said_so():
    assert translated(throttled(7.5)).retry_after_s == 7.5
    assert translated(throttled()).retry_after_s is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NoFaceFound("x"), FaultKind.MODEL),
        (BadMedia("x"), FaultKind.MODEL),
        (Overloaded("x"), FaultKind.MODEL),
        (models.errors.OutOfMemory("x"), FaultKind.MODEL),
        (models.errors.WeightsMissing("x"), FaultKind.CONFIG),
        (DeadlineExceeded("x"), FaultKind.DEADLINE),
        (Cancelled("x"), FaultKind.CANCELLED),
        (asyncio.CancelledError(), FaultKind.CANCELLED),
        (BackendFailed("x", None, FaultKind.THROTTLED), FaultKind.THROTTLED),
        (RuntimeError("x"), FaultKind.INFRA),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_an_error_says_about_its_backend(error, kind):
    assert kind_of(error) is kind
    if isinstance(error, RylaError):
        assert translated(error) is error
