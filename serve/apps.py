"""Which Serve app a deployment lives in: in production one a family of models, on a laptop one for all."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import ray
from ray import serve as ray_serve

from deployments import deployments
from deployments.plan.serve_config import GATEWAY
from models.errors import Overloaded
from serve.cluster import Handle

PATIENCE_S: Final = 60.0  # for the cards that other apps should take first
LOOK_S: Final = 0.5
RETRY_AFTER_S: Final = 10.0


def app_of(deployment: str, here: str) -> str:
    """The app of `deployment`, as seen from a process of the app `here`."""
    families = {declared.family for declared in deployments().values()}
    return deployments()[deployment].family if here in families | {GATEWAY} else here


def handle_of(deployment: str) -> Handle:
    """The handle of a deployment, whichever app it is in. Raises Overloaded while that app is not up."""
    app = app_of(deployment, ray_serve.get_replica_context().app_name)
    try:
        return ray_serve.get_deployment_handle(deployment, app_name=app)
    except KeyError:
        raise Overloaded(f"the model {deployment!r} is not up on this cluster; /ready says which are", RETRY_AFTER_S) from None


class Handles:
    """Handles by name, each looked up once, in a thread: the look-up asks Serve's controller, and its answer may be long in coming."""

    def __init__(self, find: Callable[[str], Handle] = handle_of) -> None:
        self._find = find
        self._found: dict[str, Handle] = {}

    async def __call__(self, deployment: str) -> Handle:
        """The handle; the same one each time, since every new one starts its own metrics pusher. Raises what `find` does."""
        if deployment not in self._found:
            handle = await asyncio.to_thread(self._ready, deployment)
            self._found.setdefault(deployment, handle)  # two may have looked at once
        return self._found[deployment]

    def _ready(self, deployment: str) -> Handle:
        handle = self._find(deployment)
        handle.options()  # makes its router now, which asks the cluster too
        return handle


def wait_for_cards(ahead: float) -> None:
    """Wait until `ahead` cards (or parts that add up to them) are taken: the larger replicas of other apps go first.

    Ray places replicas as they come, and small ones that come first can leave no card whole. An app that never gets its cards holds up the
    others for PATIENCE_S only.
    """
    end = time.monotonic() + PATIENCE_S
    while _taken() + 1e-6 < ahead and time.monotonic() < end:
        time.sleep(LOOK_S)


def _taken() -> float:
    return float(ray.cluster_resources().get("GPU", 0)) - float(ray.available_resources().get("GPU", 0))
