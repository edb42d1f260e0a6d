"""Containers as processes: Modal's own runner, in a folder that holds what the image and the mounts would."""

import asyncio
import hashlib
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from modal_proto import api_pb2

from tests.modal_burst.loopback import definitions
from tests.modal_burst.loopback.fleet import Fleet
from tests.modal_burst.loopback.rpc import TASK_HEADER
from tests.modal_burst.loopback.state import Container, Function, State

HEARTBEAT_S = 15.0


def restore_file(folder: Path, container_id: str) -> Path:
    """Where a container looks for the sign that it was restored from its snapshot."""
    return folder / "containers" / f"{container_id}.restored.json"


class Processes:
    """Starts `python -m modal._container_entrypoint` for a function, with only the files and variables that were deployed."""

    def __init__(self, state: State, url: str, env: Mapping[str, str]) -> None:
        self._state = state
        self._url = url
        self._env = env
        self._tasks: set[asyncio.Task[None]] = set()

    def launch(self, function: Function, fleet: Fleet) -> Container:
        """Start a container in the background."""
        container = Container(self._state.new_id("ta"), function, definitions.card(function.definition), stop=lambda: None)
        task = asyncio.get_running_loop().create_task(self._live(container, fleet))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return container

    async def _live(self, container: Container, fleet: Fleet) -> None:
        folder = self._state.folder / "containers"
        folder.mkdir(exist_ok=True)
        root = self._lay_out(container.function.definition)
        with (folder / f"{container.id}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "modal._container_entrypoint",
                cwd=root / "root",
                env=self._environment(container, root),
                stdout=log,
                stderr=log,
            )
            container.stop = lambda: _kill(process)
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                _kill(process)
                await process.wait()
                raise
        fleet.lost(container, "was killed" if code == -signal.SIGKILL else f"ended with exit code {code}")

    async def close(self) -> None:
        """Kill all containers and wait until they are gone."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _lay_out(self, definition: api_pb2.Function) -> Path:
        """A folder with the mounted files under their remote paths; made once for each set of mounts."""
        files = sorted((file for mount in definition.mount_ids for file in self._state.mounts[mount]), key=lambda file: file.filename)
        digest = hashlib.sha256("".join(f"{file.filename}:{file.sha256_hex}\n" for file in files).encode()).hexdigest()[:16]
        root = self._state.folder / "roots" / digest
        if not root.exists():
            (root / "root").mkdir(parents=True)
            for file in files:
                path = root / file.filename.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self._state.files[file.sha256_hex])
        return root

    def _environment(self, container: Container, root: Path) -> dict[str, str]:
        definition = container.function.definition
        arguments = self._state.folder / "containers" / f"{container.id}.arguments"
        arguments.write_bytes(self._arguments(container).SerializeToString())
        own = {
            "PYTHONPATH": str(root / "root"),
            "MODAL_IS_REMOTE": "1",
            "MODAL_TASK_ID": container.id,
            "MODAL_SERVER_URL": self._url,
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
            "MODAL_OVERRIDE_HEADERS": f"{TASK_HEADER}:{container.id}",
            "MODAL_HEARTBEAT_INTERVAL": str(HEARTBEAT_S),
            "MODAL_ENABLE_SNAP_RESTORE": "1" if definition.checkpointing_enabled else "0",
            "MODAL_RESTORE_STATE_PATH": str(restore_file(self._state.folder, container.id)),
        }
        secrets = {key: value for secret in definition.secret_ids for key, value in self._state.secrets[secret].items()}
        deployed = self._image_environment(definition.image_id) | secrets
        return {**self._env, **{key: self._mounted(value, definition) for key, value in deployed.items()}, **own}

    def _arguments(self, container: Container) -> api_pb2.ContainerArguments:
        function, app = container.function, container.function.app
        base = function.base or function
        definition = api_pb2.Function()
        definition.CopyFrom(function.definition)
        definition.is_checkpointing_function = definition.checkpointing_enabled
        tags = {tag: function_id for tag, function_id in app.functions.items() if function_id == base.id}
        objects = [api_pb2.Object(object_id=base.id, function_handle_metadata=base.metadata())]
        objects += [api_pb2.Object(object_id=dependency.object_id) for dependency in definition.object_dependencies]
        objects += [api_pb2.Object(object_id=i, class_handle_metadata=api_pb2.ClassHandleMetadata()) for i in app.classes.values()]
        return api_pb2.ContainerArguments(
            task_id=container.id,
            function_id=function.id,
            app_id=app.id,
            function_def=definition,
            serialized_params=function.params,
            environment_name="main",
            checkpoint_id=f"cp-{container.id}" if definition.checkpointing_enabled else "",
            app_layout=api_pb2.AppLayout(objects=objects, function_ids=tags, class_ids=app.classes),
        )

    def _image_environment(self, image_id: str) -> dict[str, str]:
        """The ENV lines of an image and of those it is built on."""
        image = self._state.images[image_id]
        found: dict[str, str] = {}
        for base in image.base_images:
            found |= self._image_environment(base.image_id)
        for line in image.dockerfile_commands:
            if line.startswith("ENV "):
                found |= dict(pair.split("=", 1) for pair in shlex.split(line.removeprefix("ENV ")) if "=" in pair)
        return found

    def _mounted(self, value: str, definition: api_pb2.Function) -> str:
        """A path under a volume's mount point is moved to the folder that stands in for the volume: we cannot mount."""
        for mount in definition.volume_mounts:
            if value == mount.mount_path or value.startswith(mount.mount_path + "/"):
                folder = self._state.folder / "volumes" / mount.volume_id
                folder.mkdir(parents=True, exist_ok=True)
                return str(folder) + value.removeprefix(mount.mount_path)
        return value


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
