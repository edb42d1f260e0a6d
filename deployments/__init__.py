"""What is served, as data: every file here declares one model and the endpoints it answers. `ls deployments/` is the product.

They are collected from the files' `DEPLOYMENTS`, `ENDPOINTS` and `RETIRED` on first use, and doubles are refused.
"""

import importlib
import pkgutil
from functools import cache
from types import ModuleType
from typing import cast

from deployments.spec.deployment import Deployment
from deployments.spec.endpoint import Endpoint, Retired
from deployments.spec.studio import Selection, StudioRequest


def _modules() -> list[ModuleType]:
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.ispkg and not info.name.startswith("_"))
    return [importlib.import_module(f"{__name__}.{name}") for name in names]


@cache
def deployments() -> dict[str, Deployment]:
    """All deployments by name."""
    found: dict[str, Deployment] = {}
    for module in _modules():
        for deployment in cast(tuple[Deployment, ...], getattr(module, "DEPLOYMENTS", ())):
            if deployment.name in found:
                raise ValueError(f"two deployments are named {deployment.name!r}; the second is in {module.__name__}")
            found[deployment.name] = deployment
    return found


@cache
def endpoints() -> dict[str, Endpoint]:
    """All endpoints by path."""
    found: dict[str, Endpoint] = {}
    for module in _modules():
        for endpoint in cast(tuple[Endpoint, ...], getattr(module, "ENDPOINTS", ())):
            if endpoint.path in found:
                raise ValueError(f"two endpoints answer {endpoint.path!r}; the second is in {module.__name__}")
            unknown = set(endpoint.deployments) - set(deployments())
            if unknown:
                raise ValueError(f"{endpoint.path} needs deployments that nobody declares: {sorted(unknown)}")
            found[endpoint.path] = endpoint
    return found


@cache
def retired() -> dict[str, Retired]:
    """All retired paths."""
    found: dict[str, Retired] = {}
    for module in _modules():
        for gone in cast(tuple[Retired, ...], getattr(module, "RETIRED", ())):
            if gone.path in found or gone.path in endpoints():
                raise ValueError(f"{gone.path!r} is declared twice, the second time as retired in {module.__name__}")
            if gone.replacement not in endpoints():
                raise ValueError(f"{gone.path} is replaced by {gone.replacement!r}, which nobody declares")
            found[gone.path] = gone
    return found


def answered(serve_retired: bool) -> dict[str, Endpoint]:
    """Endpoints that answer: all of them, and with `serve_retired` what still stands in for retired paths."""
    stand_ins = {gone.path: gone.still for gone in retired().values() if gone.still is not None and serve_retired}
    return endpoints() | stand_ins


def select(asked: StudioRequest) -> Selection:
    """What answers a request of Studio's. Raises BadRequest for a model that nobody here knows."""
    from deployments.studio import select as rules

    return rules(asked)
