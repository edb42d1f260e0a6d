"""The mirror for real: deployed by Modal's own CLI, run in Modal's own container runner, called through Modal's own client."""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from modal_proto.api_pb2 import GenericResult

from deployments import deployments
from modal_burst.app import IDLE_S, WEIGHTS
from modal_burst.backend import ModalBackend
from modal_burst.line import CLASS_NAME
from modal_burst.manifest import LOCKS, SOURCES, manifest
from modal_burst.pools import pool_of
from modal_burst.settings import BurstSettings
from models.errors import BadRequest
from models.host import Result, RunnerHost
from models.runner import Progress
from models.tiny import TinyStore
from models.weights import Loading, folders
from tests.modal_burst.loopback.server import LoopbackModal
from tests.modal_burst.plans import chain_plan
from tests.modal_burst.scripted import up

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def deployed(cloud: LoopbackModal, tiny_root: Path):
    (cloud.volume("ryla-weights") / "tiny").symlink_to(tiny_root)
    manifest.cache_clear()  # a working tree may have been edited since it was first asked for
    command = [sys.executable, "-m", "modal", "deploy", "modal_burst/app.py"]
    place = {"RYLA_PROFILE": "tiny", "RYLA_MIRROR_SECRETS": "bucket", "RYLA_GRANTS": "owner/name"}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | cloud.env | place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return cloud


async def here(plan, store):
    """The same plan on hosts of this process, as the cluster's replicas run it."""
    hosts = []
    for stage in plan.stages:
        declared = deployments()[stage.deployment]
        hosts.append(RunnerHost(declared.runner(Loading(folders(store, declared.weights)))))
    upstream = hosts[0].frames(plan.stages[0].task)
    events = [event async for event in hosts[1].produce(plan.stages[1].task, plan.encoding, upstream=upstream)]
    for host in hosts:
        host.close()
    return events[-1]


async def test_the_mirror_answers_as_the_cluster_does(deployed: LoopbackModal, tiny_root: Path):
    (app,) = deployed.state.apps.values()
    assert app.tags == {"manifest": manifest("tiny"), "profile": "tiny"}
    (function,) = (f for f in deployed.state.functions.values() if f.base is None)
    assert function.definition.function_name == f"{CLASS_NAME}.*"
    assert (function.settings.scaledown_window, function.settings.max_containers > 0) == (IDLE_S, True)
    assert [mount.mount_path for mount in function.definition.volume_mounts] == [WEIGHTS]
    assert not function.definition.resources.gpu_config.count
    pinned = [file.data for image in deployed.state.images.values() for file in image.context_files]
    assert set(pinned) == {(ROOT / lock).read_bytes() for lock in LOCKS}
    mounted = {file.filename.split("/")[2] for mount in function.definition.mount_ids for file in deployed.state.mounts[mount]}
    assert mounted == {"app.py", *SOURCES, *LOCKS}

    plan = chain_plan()
    reports = []
    backend = ModalBackend(BurstSettings(burst_max_containers=1, burst_idle_s=300), reports.append)
    await backend.start()
    await up(backend)
    events = [event async for event in backend.run(plan, deadline=time.time() + 200)]
    log = deployed.log(deployed.containers[0])
    assert isinstance(events[-1], Result), log
    assert events[-1].media == (await here(plan, TinyStore(tiny_root))).media
    # How many arrive depends on how fast the machine is; that they do, test_mirror.py shows.
    assert {event.stage for event in events[:-1] if isinstance(event, Progress)} <= {"encode", "denoise", "decode", "swap"}
    assert (deployed.containers[0].card, reports[0].cold, reports[0].kind) == (pool_of(plan).gpu, True, None)
    assert deployed.state.snapshots == [deployed.containers[0].id]

    (item,) = deployed.inputs
    assert reports[0].charged_s == pytest.approx(item.seconds, abs=0.3)
    assert events[-1].stages[0].card.name == pool_of(plan).gpu

    await cancelled(backend, deployed)
    first, second = plan.stages
    crooked = replace(plan, stages=(replace(first, task=replace(first.task, width=first.task.width + 1)), second))
    with pytest.raises(BadRequest):
        _ = [event async for event in backend.run(crooked, deadline=time.time() + 60)]
    assert len(deployed.containers) == 1
    await backend.close()


async def cancelled(backend: ModalBackend, deployed: LoopbackModal):
    """A caller that leaves frees the container within a step."""
    async with aclosing(backend.run(chain_plan(steps=100, length=33), deadline=None)) as events:
        async for event in events:
            if isinstance(event, Progress) and event.stage == "denoise":
                break
    async with asyncio.timeout(10):
        while deployed.containers[0].running:
            await asyncio.sleep(0.02)
    assert deployed.inputs[-1].output.result.status == GenericResult.GENERIC_STATUS_TERMINATED
