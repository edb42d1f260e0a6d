"""The stand-in against the unmodified client and CLI: what the other tests of the mirror take for granted."""

import asyncio
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import modal
import pytest
from grpclib import Status
from modal.client import Client
from modal.exception import (
    AuthError,
    ConnectionError,
    FunctionTimeoutError,
    InternalFailure,
    NotFoundError,
    RemoteError,
    ResourceExhaustedError,
    ServiceError,
)
from modal_proto.api_pb2 import GenericResult

from tests.modal_burst.loopback.ledger import RATES
from tests.modal_burst.loopback.server import TOKEN_ID, LoopbackModal

pytestmark = pytest.mark.asyncio


async def echo(context, value):
    return {"value": value, "parameters": dict(context.parameters)}


async def count(context, upto, pause_s=0.01):
    yield {"call": context.call_id}
    for number in range(upto):
        yield number
        await asyncio.sleep(pause_s)


async def boom(context):
    raise ValueError("no")


async def each(items, act):
    async with aclosing(items):
        async for item in items:
            await act(item)


@pytest.fixture
def echo_class(cloud: LoopbackModal, client: Client) -> modal.Cls:
    cloud.serve("app", "Echo", {"echo": echo, "count": count, "boom": boom}, parameters={"name": str})
    return modal.Cls.from_name("app", "Echo", client=client)


async def test_a_held_handle_costs_two_requests_a_call(cloud, echo_class):
    method = echo_class(name="a").echo
    assert await method.remote.aio("x") == {"value": "x", "parameters": {"name": "a"}}
    before = cloud.asked.total()
    await method.remote.aio("y")
    assert cloud.asked.total() - before == 2
    assert [cloud.arguments(item)[0] for item in cloud.inputs] == [["x"], ["y"]]


@pytest.mark.parametrize(("size", "blobs"), [(1_900_000, 0), (3_000_000, 1)])
async def test_payloads_over_two_mebibytes_travel_as_blobs(cloud, echo_class, size, blobs):
    sent = bytes(range(256)) * (size // 256)
    assert (await echo_class(name="a").echo.remote.aio(sent))["value"] == sent
    assert cloud.asked["BlobCreate"] == blobs


async def test_generators_stream(cloud, echo_class):
    items = [item async for item in echo_class(name="a").count.remote_gen.aio(3)]
    assert items == [{"call": next(iter(cloud.state.calls))}, 0, 1, 2]


async def test_a_generator_is_cancelled_through_its_call_id(cloud, client, echo_class):
    seen = []

    async def cancel_at_three(item):
        seen.append(item)
        if len(seen) == 3:
            await modal.FunctionCall.from_id(seen[0]["call"], client=client).cancel.aio()

    with pytest.raises(RemoteError):
        await each(echo_class(name="a").count.remote_gen.aio(10_000), cancel_at_three)
    assert len(seen) < 20
    assert not cloud.containers[0].running


async def test_a_call_that_waits_is_cancelled_without_running(cloud, client):
    cloud.serve("app", "One", {"count": count, "echo": echo}, max_containers=1)
    one = modal.Cls.from_name("app", "One", client=client)()
    async with aclosing(one.count.remote_gen.aio(10_000)) as busy:
        await anext(busy)
        waiting = await one.echo.spawn.aio("x")
        await waiting.cancel.aio()
        with pytest.raises(RemoteError, match="before it ran"):
            await waiting.get.aio(timeout=5)
    assert cloud.inputs[1].started_at is None


async def test_every_variant_is_a_pool_of_its_own(cloud, echo_class):
    h100 = echo_class.with_options(gpu="H100", max_containers=1, scaledown_window=7)
    await asyncio.gather(*(cls(name=n).echo.remote.aio(1) for cls, n in [(echo_class, "a"), (echo_class, "b"), (h100, "a"), (h100, "a")]))
    assert sorted(container.card for container in cloud.containers) == ["H100", "L40S", "L40S"]
    variant = next(c.function for c in cloud.containers if c.card == "H100")
    assert (variant.settings.max_containers, variant.settings.scaledown_window) == (1, 7)


async def test_containers_start_for_the_backlog_and_stay_under_the_limit(cloud, client):
    cloud.serve("app", "Few", {"count": count}, max_containers=3, max_inputs=2)
    few = modal.Cls.from_name("app", "Few", client=client)()

    async def run():
        return [item async for item in few.count.remote_gen.aio(5)]

    assert all(len(items) == 6 for items in await asyncio.gather(*(run() for _ in range(10))))
    assert len(cloud.containers) == 3


async def test_load_can_be_read_and_the_autoscaler_set(cloud, echo_class):
    method = echo_class(name="a").echo
    settings = await method.autoscaler.update.aio(min_containers=2, scaledown_window=33)
    assert (settings.min_containers, settings.scaledown_window) == (2, 33)
    stats = await method.get_current_stats.aio()
    assert (stats.num_total_runners, stats.input_headroom, stats.backlog, stats.num_running_inputs) == (2, 2, 0, 0)


async def test_idle_containers_go(cloud, echo_class):
    cloud.fleet.scaledown_s = 0.1
    await echo_class(name="a").echo.remote.aio(1)
    async with asyncio.timeout(5):
        while cloud.containers[0].ended_at is None:
            await asyncio.sleep(0.02)


async def test_spend_is_container_time_at_the_cards_rate(cloud, echo_class):
    cloud.fleet.scaledown_s = 0.05
    [item async for item in echo_class(name="a").count.remote_gen.aio(10)]
    async with asyncio.timeout(5):
        while cloud.containers[0].ended_at is None:
            await asyncio.sleep(0.02)
    container = cloud.containers[0]
    assert cloud.ledger.container_usd == pytest.approx((container.ended_at - container.started_at) * RATES["L40S"])
    assert 0.1 * RATES["L40S"] < cloud.ledger.input_usd < cloud.ledger.container_usd


async def test_a_wrong_token_is_refused(cloud, echo_class):
    cloud.faults.tokens[TOKEN_ID] = "another"
    with pytest.raises(AuthError):
        await echo_class(name="a").echo.remote.aio(1)


async def test_what_is_not_deployed_is_not_found(cloud, client, echo_class):
    for app, name in (("app", "Nobody"), ("nowhere", "Echo")):
        with pytest.raises(NotFoundError):
            await modal.Cls.from_name(app, name, client=client)(name="a").echo.remote.aio(1)
    cloud.undeploy("app")
    with pytest.raises(NotFoundError):
        await echo_class(name="a").echo.remote.aio(1)


async def test_an_rpc_it_does_not_know_fails_by_name(client):
    with pytest.raises(modal.exception.UnimplementedError, match="QueueGetOrCreate"):
        await modal.Queue.from_name("q", create_if_missing=True, client=client).hydrate.aio()


async def test_transient_errors_are_retried_and_never_run_anything_twice(cloud, echo_class):
    method = echo_class(name="a").echo
    await method.remote.aio(0)
    cloud.faults.fail("FunctionMap", Status.UNAVAILABLE, times=1)
    cloud.faults.lose_reply("FunctionMap", times=2)
    await method.remote.aio(1)
    assert cloud.asked["FunctionMap"] == 1 + 4
    assert len(cloud.inputs) == 2
    cloud.faults.fail("FunctionMap", Status.UNAVAILABLE)
    with pytest.raises(ServiceError):
        await method.remote.aio(2)
    assert len(cloud.inputs) == 2


async def test_throttling_with_and_without_a_word_on_when_to_come_back(cloud, echo_class):
    method = echo_class(name="a").echo
    cloud.faults.throttle(times=1)
    with pytest.raises(ResourceExhaustedError):
        await method.remote.aio(1)
    cloud.faults.throttle(retry_after_s=0.2, times=3)
    began = time.monotonic()
    await method.remote.aio(1)
    assert time.monotonic() - began > 0.6


async def test_a_request_that_is_never_answered_is_bounded_by_the_caller_alone(cloud, echo_class):
    method = echo_class(name="a").echo
    await method.remote.aio(0)
    cloud.faults.hang("FunctionMap")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await method.remote.aio(1)


@pytest.mark.parametrize("ailment", ["refuse", "black_hole"])
async def test_a_broken_network_heals(cloud, echo_class, ailment):
    method = echo_class(name="a").echo
    await method.remote.aio(0)
    getattr(cloud, ailment)()
    with pytest.raises((TimeoutError, ConnectionError, ServiceError)):
        async with asyncio.timeout(1):
            await method.remote.aio(1)
    cloud.heal()
    async with asyncio.timeout(15):
        assert (await method.remote.aio(2))["value"] == 2


async def test_a_server_that_restarted_has_lost_its_calls(cloud, echo_class):
    method = echo_class(name="a").count

    async def restart_at_two(item):
        if item == 2:
            cloud.restart()

    with pytest.raises(NotFoundError, match="no call"):
        await asyncio.wait_for(each(method.remote_gen.aio(10_000), restart_at_two), 20)
    assert (await echo_class(name="a").echo.remote.aio(1))["value"] == 1


async def test_a_container_killed_under_a_call_fails_it(cloud, echo_class):
    async def kill_at_two(item):
        if item == 2:
            cloud.kill_containers()

    with pytest.raises(InternalFailure, match="was killed"):
        await each(echo_class(name="a").count.remote_gen.aio(10_000), kill_at_two)


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (GenericResult.GENERIC_STATUS_TIMEOUT, FunctionTimeoutError),
        (GenericResult.GENERIC_STATUS_INIT_FAILURE, RemoteError),
        (GenericResult.GENERIC_STATUS_KERNEL_OOM_KILL, RemoteError),
        (GenericResult.GENERIC_STATUS_INTERNAL_FAILURE, InternalFailure),
    ],
)
async def test_calls_can_be_made_to_end_badly(cloud, echo_class, status, raised):
    cloud.faults.end_calls(status, "why")
    with pytest.raises(raised, match="why"):
        await echo_class(name="a").echo.remote.aio(1)
    assert (await echo_class(name="a").echo.remote.aio(1))["value"] == 1


async def test_an_exception_in_a_method_reaches_the_caller(echo_class):
    with pytest.raises(RemoteError, match="ValueError"):
        await echo_class(name="a").boom.remote.aio()


async def test_maps_and_client_side_retries(cloud, client):
    seen = []

    async def flaky(context, value):
        seen.append(value)
        if seen.count(value) == 1:
            raise ValueError("the first time fails")
        return value

    cloud.serve("app", "Flaky", {"flaky": flaky, "echo": echo})
    flaky_class = modal.Cls.from_name("app", "Flaky", client=client)
    again = flaky_class.with_options(retries=modal.Retries(max_retries=1, initial_delay=0.0))()
    assert await again.flaky.remote.aio(1) == 1
    assert seen == [1, 1]
    assert [reply["value"] async for reply in flaky_class().echo.map.aio(range(5))] == list(range(5))


async def test_latency_can_be_added(cloud, echo_class):
    method = echo_class(name="a").echo
    await method.remote.aio(0)
    cloud.slow_network(0.1)
    began = time.monotonic()
    await method.remote.aio(0)
    assert time.monotonic() - began > 0.2


@pytest.mark.slow
async def test_the_cli_deploys_and_modals_own_runner_runs(cloud, client):
    app_file = Path(__file__).parent / "loopback" / "apps" / "echo.py"
    done = subprocess.run([sys.executable, "-m", "modal", "deploy", str(app_file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    function = next(f for f in cloud.state.functions.values() if f.base is None)
    assert [f.resources.gpu_config.gpu_type for f in function.ranked] == ["L40S", "A100-80GB"]
    assert (function.settings.max_containers, function.settings.scaledown_window, function.slots) == (2, 30, 4)

    echo = modal.Cls.from_name("echo", "Echo", client=client)(name="a")
    reply = await echo.echo.remote.aio(b"x" * 3_000_000)
    assert reply == {
        "value": b"x" * 3_000_000,
        "name": "a",
        "log": ["loaded", "restored"],
        "weights": str(cloud.volume("weights")),
        "folder": ["echo.py"],
    }
    assert [item async for item in echo.count.remote_gen.aio(2)][1:] == [0, 1]
    assert len(cloud.containers) == 1

    seen = []

    async def cancel_at_two(item):
        seen.append(item)
        if len(seen) == 2:
            await modal.FunctionCall.from_id(seen[0]["call"], client=client).cancel.aio()

    with pytest.raises(RemoteError):
        await each(echo.count.remote_gen.aio(10_000), cancel_at_two)
    assert len(seen) < 20
    assert "Successfully canceled" in cloud.log(cloud.containers[0])

    assert [item async for item in echo.leave.remote_gen.aio()] == ["last words"]
    async with asyncio.timeout(20):
        while cloud.containers[0].ended_at is None:
            await asyncio.sleep(0.02)
    assert (await echo.echo.remote.aio("again"))["value"] == "again"
    assert len(cloud.containers) == 2

    with pytest.raises(ValueError, match="cannot load"):  # a crash at the start travels pickled, whatever the payload format
        await modal.Cls.from_name("echo", "Echo", client=client)(name="broken").echo.remote.aio(1)
    cloud.kill_containers()
