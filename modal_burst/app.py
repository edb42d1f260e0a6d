"""The Modal app: `modal deploy modal_burst/app.py` deploys the mirror of everything that is declared.

One class holds whichever deployments its parameter names; the caller adds the card by `with_options`. The image is made of the same lock
files as the cluster and of these packages alone, so that the mirror cannot come to need Ray.
"""

import importlib
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any

import modal

from modal_burst.manifest import LOCKS, ROOT, SOURCES, manifest, travels
from modal_burst.mirror import Ids, Mirror
from modal_burst.pools import pools
from modal_burst.settings import MirrorSettings
from modal_burst.wire import Wire

WEIGHTS = "/weights"
LORA_CACHE = "/tmp/loras"
FACE_GALLERY = "/root/face-gallery.json"
LIBRARIES = ("torch", "diffusers", "transformers")  # what takes longest to import, and is the same for every pool
CONTAINERS = 4  # of a pool, unless its caller asks for another number
IDLE_S = 10
START_S = 1800  # the first container of all brings the weights to the volume

settings = MirrorSettings()
environment = {
    "RYLA_PROFILE": settings.profile,
    "RYLA_MIRROR_APP": settings.mirror_app,
    "RYLA_WEIGHTS_ROOT": WEIGHTS,
    "RYLA_WEIGHTS_MIRROR": settings.weights_mirror,
    "RYLA_HUB_TOKEN": settings.hub_token,
    "RYLA_GRANTS": ",".join(settings.grants) or None,
    "RYLA_COMMERCIAL": None if settings.commercial is None else str(settings.commercial),
    "RYLA_LORA_ROOT": settings.lora_root,
    "RYLA_LORA_CACHE": LORA_CACHE,
    "RYLA_NSFW_GATE": settings.nsfw_gate,
    "RYLA_MINOR_GATE": settings.minor_gate,
    "RYLA_WATERMARK": str(settings.watermark),
    "RYLA_C2PA": str(settings.c2pa),
    "RYLA_FACE_GALLERY": FACE_GALLERY,
    "RYLA_MIRROR_SECRETS": ",".join(settings.mirror_secrets) or None,  # a container must find the same ones here as were deployed
}
image = modal.Image.debian_slim(python_version="3.11").pip_install_from_requirements(str(ROOT / LOCKS[0]))
image = image.pip_install_from_requirements(str(ROOT / LOCKS[1]), extra_options="--no-deps")
for lock in LOCKS:
    image = image.add_local_file(str(ROOT / lock), f"/root/{lock}")
if modal.is_local() and settings.face_gallery.exists():
    image = image.add_local_file(str(settings.face_gallery), FACE_GALLERY)  # as it is when deployed
image = image.add_local_python_source(*SOURCES, ignore=lambda path: not travels(path.resolve().relative_to(ROOT)))
app = modal.App(settings.mirror_app, image=image, tags={"manifest": manifest(settings.profile), "profile": settings.profile})


@app.cls(
    secrets=[
        modal.Secret.from_dict({key: value for key, value in environment.items() if value is not None}),
        *(modal.Secret.from_name(name) for name in settings.mirror_secrets),
    ],
    volumes={WEIGHTS: modal.Volume.from_name("ryla-weights", create_if_missing=True)},
    enable_memory_snapshot=True,
    max_containers=CONTAINERS,
    scaledown_window=IDLE_S,
    timeout=int(max(pool.longest_s for pool in pools().values())) + 60,
    startup_timeout=START_S,
)
@modal.concurrent(max_inputs=2, target_inputs=1)
class MirrorContainer:
    """A container of the mirror. deployments: a pool's key."""

    deployments: str = modal.parameter()

    @modal.enter(snap=True)
    def warm_up(self) -> None:
        """Into the memory snapshot: the libraries, imported. There is no card yet."""
        with cards_hidden():
            for library in LIBRARIES:
                importlib.import_module(library)

    @modal.enter(snap=False)
    def load(self) -> None:
        """Onto the card: the models."""
        self.mirror = Mirror(self.deployments, MirrorSettings())

    @modal.method()
    async def produce(self, payload: dict[str, Any]) -> AsyncGenerator[Wire, None]:
        """Run a plan; `modal_burst/mirror.py` says what comes back."""
        async for item in self.mirror.produce(payload, _ids()):
            yield item
        await self._leave_if_sick()

    @modal.method()
    async def frames(self, payload: dict[str, Any]) -> AsyncGenerator[Wire, None]:
        """Run the first stage of a chain."""
        async for item in self.mirror.frames(payload, _ids()):
            yield item
        await self._leave_if_sick()

    async def _leave_if_sick(self) -> None:
        if self.mirror.sick:
            await modal.experimental.stop_fetching_inputs.aio()  # pyright: ignore[reportFunctionMemberAccess] - added by a decorator

    @modal.exit()
    def close(self) -> None:
        """Free the models."""
        self.mirror.close()


@contextmanager
def cards_hidden() -> Generator[None]:
    """Libraries look for a card while they are imported, and there is none before the snapshot is restored.

    torch (2.13) would ask the driver and be told for good that there is none; with these variables it does not ask before it is used.
    """
    hidden = {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    before = {name: os.environ.get(name) for name in hidden}
    os.environ.update(hidden)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _ids() -> Ids:
    return Ids(call=modal.current_function_call_id() or "", container=modal.config.config.get("task_id") or "")
