"""The line under every fault of a network, an account and a deployment: calls fail within bounds, and it comes back by itself."""

import asyncio
import time

import pytest
import pytest_asyncio
from modal.client import Client

from modal_burst.backend import ModalBackend
from modal_burst.faults import kind_of
from modal_burst.settings import BurstSettings
from models.errors import BackendFailed, FaultKind, NotConfigured, RylaError
from tests.modal_burst.loopback.server import TOKEN_ID, TOKEN_SECRET
from tests.modal_burst.plans import video_plan
from tests.modal_burst.scripted import APP, ScriptedMirror, up

pytestmark = pytest.mark.asyncio
BOUNDS = {"burst_request_s": 1.0, "burst_silence_s": 30.0, "burst_ping_s": 0.2, "burst_reconnect_s": 0.3}


@pytest.fixture
def mirror(cloud):
    made = ScriptedMirror()
    made.deploy(cloud)
    return made


@pytest_asyncio.fixture
async def backend(cloud, monkeypatch):
    monkeypatch.setattr("modal_burst.line.FIRST_PAUSE_S", 0.1)
    made = ModalBackend(BurstSettings(**BOUNDS))
    yield made
    await made.close()


async def run(backend):
    return [event async for event in backend.run(video_plan(), deadline=None)]


async def down(backend, seconds=10.0):
    async with asyncio.timeout(seconds):
        while backend.fault is None:
            await asyncio.sleep(0.02)


async def fault_after(backend):
    """What a call is told while there is no line; it is told at once."""
    plan = video_plan()
    began = time.monotonic()
    with pytest.raises(RylaError) as failed:
        await anext(backend.run(plan, deadline=None))
    assert time.monotonic() - began < 0.1
    return failed.value


async def pulse_for_ever(payload):
    while True:
        yield {"pulse": time.time()}
        await asyncio.sleep(0.1)


async def test_calls_fail_at_once_until_it_is_up(backend, mirror):
    assert kind_of(await fault_after(backend)) is FaultKind.INFRA
    await backend.start()
    await up(backend)
    await run(backend)


async def test_connecting_asks_a_handful_of_questions_and_idling_none(backend, mirror, cloud):
    await backend.start()
    await up(backend)
    asked = cloud.asked.copy()
    assert asked["FunctionBindParams"] >= 4
    assert asked.total() - asked["FunctionBindParams"] <= 5
    await asyncio.sleep(0.6)
    assert cloud.asked == asked
    await run(backend)
    assert (cloud.asked - asked).total() <= 4


async def test_a_platform_that_refuses_connections(backend, mirror, cloud):
    cloud.refuse()
    await backend.start()
    assert not await backend.settled(5)
    assert kind_of(await fault_after(backend)) is FaultKind.INFRA
    cloud.heal()
    await up(backend)
    await run(backend)


async def test_a_platform_that_never_answers(backend, mirror, cloud):
    cloud.black_hole()
    await backend.start()
    began = time.monotonic()
    assert not await backend.settled(5)
    assert time.monotonic() - began < 2
    assert kind_of(await fault_after(backend)) is FaultKind.INFRA
    cloud.heal()
    await up(backend)
    await run(backend)


@pytest.mark.parametrize("ailment", ["refuse", "black_hole"])
async def test_a_network_that_breaks_under_a_call(backend, mirror, cloud, ailment):
    await backend.start()
    await up(backend)
    mirror.script = pulse_for_ever
    task = asyncio.create_task(run(backend))
    async with asyncio.timeout(5):
        while not mirror.begun:
            await asyncio.sleep(0.01)
    getattr(cloud, ailment)()
    began = time.monotonic()
    with pytest.raises(BackendFailed) as failed:
        await asyncio.wait_for(task, 15)
    assert time.monotonic() - began < 10
    assert failed.value.kind is FaultKind.INFRA
    cloud.heal()
    mirror.script = ScriptedMirror.script
    async with asyncio.timeout(15):
        while True:
            try:
                await run(backend)
                break
            except BackendFailed:
                await asyncio.sleep(0.1)


async def test_a_platform_that_restarts_under_a_call(backend, mirror, cloud):
    await backend.start()
    await up(backend)
    mirror.script = pulse_for_ever
    task = asyncio.create_task(run(backend))
    async with asyncio.timeout(5):
        while not mirror.begun:
            await asyncio.sleep(0.01)
    cloud.restart()
    with pytest.raises(BackendFailed):
        await asyncio.wait_for(task, 10)
    mirror.script = ScriptedMirror.script
    await up(backend)
    await run(backend)


async def test_a_wrong_token(backend, mirror, cloud):
    cloud.faults.tokens[TOKEN_ID] = "another"
    await backend.start()
    assert not await backend.settled(5)
    assert kind_of(await fault_after(backend)) is FaultKind.CONFIG
    cloud.faults.tokens[TOKEN_ID] = TOKEN_SECRET
    await up(backend)


async def test_a_token_that_is_revoked_later(backend, mirror, cloud):
    await backend.start()
    await up(backend)
    cloud.faults.tokens[TOKEN_ID] = "another"
    with pytest.raises(BackendFailed) as failed:
        await run(backend)
    assert failed.value.kind is FaultKind.CONFIG
    async with asyncio.timeout(10):
        while backend.fault is None or kind_of(backend.fault) is not FaultKind.CONFIG:
            await asyncio.sleep(0.02)


async def test_no_token_at_all(cloud, mirror):
    backend = ModalBackend(BurstSettings(**BOUNDS, token_id=None, token_secret=None))
    await backend.start()
    assert not await backend.settled(5)
    assert isinstance(await fault_after(backend), NotConfigured)
    await backend.close()


async def test_a_mirror_that_is_not_deployed(backend, cloud):
    await backend.start()
    assert not await backend.settled(5)
    assert kind_of(await fault_after(backend)) is FaultKind.CONFIG
    ScriptedMirror().deploy(cloud)
    await up(backend)
    await run(backend)


async def test_a_mirror_that_is_taken_down_later(backend, mirror, cloud):
    await backend.start()
    await up(backend)
    cloud.undeploy(APP)
    cloud.state.functions.clear()
    with pytest.raises(BackendFailed) as failed:
        await run(backend)
    assert failed.value.kind is FaultKind.CONFIG
    await down(backend)
    mirror.deploy(cloud)
    await up(backend)
    await run(backend)


async def test_a_mirror_of_another_version_gets_no_calls(backend, cloud):
    mirror = ScriptedMirror()
    mirror.deploy(cloud, version="0" * 32)
    await backend.start()
    assert not await backend.settled(5)
    fault = await fault_after(backend)
    assert kind_of(fault) is FaultKind.CONFIG
    assert "deploy both" in fault.message
    assert mirror.begun == 0
    mirror.deploy(cloud)
    await up(backend)


async def test_other_calls_live_on_when_the_line_is_renewed(backend, mirror, cloud):
    await backend.start()
    await up(backend)

    async def for_a_while(payload):
        for _ in range(10):
            yield {"pulse": time.time()}
            await asyncio.sleep(0.1)
        async for item in ScriptedMirror.script(payload):
            yield item

    mirror.script = for_a_while
    task = asyncio.create_task(run(backend))
    async with asyncio.timeout(5):
        while not mirror.begun:
            await asyncio.sleep(0.01)
    backend._line.session().stale.set()
    await down(backend)
    await up(backend)
    assert (await task)[-1].media == b"first,second"


async def test_clients_of_others_still_open_pickles(backend, mirror, cloud):
    import pickle

    from modal_proto.api_pb2 import GenericResult

    await backend.start()
    await up(backend)
    cloud.faults.end_calls(GenericResult.GENERIC_STATUS_FAILURE, data=pickle.dumps(ValueError("theirs")))
    import modal

    other = await Client.from_credentials.aio(TOKEN_ID, TOKEN_SECRET)
    containers = modal.Cls.from_name(APP, "MirrorContainer", client=other)(deployments="x")
    with pytest.raises(ValueError, match="theirs"):
        [item async for item in containers.produce.remote_gen.aio({})]
    await other.close.aio()
