"""Writes Ray Serve's configuration files: one app a family of models and a gateway without a card. `serve deploy FILE` applies one."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from deployments.plan.arrival import apps
from deployments.plan.placement import Placement
from deployments.spec.deployment import Accelerator, Deployment
from models.acceleration import openmp

GATEWAY: Final = "gateway"
# What Ray calls the cards of a host, by itself from the driver's name or in the host's labels file.
LABEL: Final = "ray.io/accelerator-type"
LABELS: Final[Mapping[Accelerator, str]] = {"L40S": "L40S", "A100-80GB": "in(A100,A100-80G,A100-80GB)"}
REPLICA_CPUS: Final = 2  # also its threads; Ray's own setting is one, and media is decoded and encoded on the CPU
UP_AFTER_S, DOWN_AFTER_S, TO_NONE_AFTER_S = 1.0, 300.0, 900.0
LOOK_S: Final = 1.0  # how often the replicas and handles tell what they have


def production(placement: Placement, *, gateways: int = 2, code: str | None = None) -> dict[str, Any]:
    """Serve's configuration of a placement. code: folder with this code on every node, when it is not the image's own.

    Raises ValueError for fewer than one gateway and for a folder that is not absolute.
    """
    if gateways < 1:
        raise ValueError(f"gateways must be at least 1, got {gateways}")
    if code is not None and not code.startswith("/"):
        raise ValueError(f"code must be an absolute path that every node has, got {code!r}")
    environment = {} if code is None else {"runtime_env": {"working_dir": f"local://{code}"}}
    found: list[dict[str, Any]] = []
    ahead = 0.0
    for family, names in apps(placement).items():
        arguments = {"models": names, "cards_ahead": round(ahead, 3)}
        options = [_replicas(placement, name) for name in names]
        found.append(_app(family, "serve.app:family", arguments, route=None) | environment | {"deployments": options})
        ahead += sum(placement.up(name) * placement.share(name) for name in names)
    shared = {"models": list(placement.declared), "served": list(placement.kinds), "shared": True}
    actor = {"num_cpus": 1, "num_gpus": 0, "runtime_env": {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}}  # unset, it would see every card
    front = {"name": GATEWAY, "num_replicas": gateways} | _replaced(gateways) | {"ray_actor_options": actor}
    found.append(_app(GATEWAY, "serve.app:gateway", shared, route="/") | environment | {"deployments": [front]})
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": 8000},
        "logging_config": {"encoding": "JSON", "log_level": "INFO"},
        "applications": found,
    }


def tiny(declared: Sequence[Deployment]) -> dict[str, Any]:
    """Serve's configuration of the same apps on a machine without a card; their options are the code's own for such a machine."""
    families: dict[str, list[str]] = {}
    for deployment in declared:
        families.setdefault(deployment.family, []).append(deployment.name)
    found = [_app(family, "serve.app:family", {"models": names}, route=None) for family, names in families.items()]
    names = [d.name for d in declared]
    front = {"name": GATEWAY} | _replaced(1)
    found.append(_app(GATEWAY, "serve.app:gateway", {"models": names, "served": names}, route="/") | {"deployments": [front]})
    return {"proxy_location": "HeadOnly", "http_options": {"host": "127.0.0.1", "port": 8000}, "applications": found}


def dump(config: Mapping[str, Any], command: str) -> str:
    """The file's text. command: what wrote it."""
    head = f"# Written by `{command}`; do not edit, write it anew.\n# Apply with `serve deploy FILE`.\n"
    return head + yaml.safe_dump(dict(config), sort_keys=False, width=140)


def _app(name: str, builder: str, arguments: Mapping[str, Any], *, route: str | None) -> dict[str, Any]:
    return {"name": name, "route_prefix": route, "import_path": builder, "args": dict(arguments)}


def _replaced(gateways: int) -> dict[str, Any]:
    """How an update replaces gateways: a lone one once its successor is up; of several, each on a node of its own, one after the other."""
    return {"max_surge_percent": 100} if gateways == 1 else {"max_replicas_per_node": 1}


def _replicas(placement: Placement, name: str) -> dict[str, Any]:
    """Options of one deployment: its place, and between how many replicas it moves."""
    declared, kind = placement.declared[name], placement.kinds[name]
    up = placement.up(name)
    return {
        "name": name,
        "autoscaling_config": {
            "min_replicas": min(declared.replicas.min, up),
            "initial_replicas": up,
            "max_replicas": max(placement.most(name), up),
            "upscale_delay_s": UP_AFTER_S,
            "downscale_delay_s": DOWN_AFTER_S,
            "downscale_to_zero_delay_s": TO_NONE_AFTER_S,
            "metrics_interval_s": LOOK_S,
            "look_back_period_s": 2 * LOOK_S,
            "policy": {
                "policy_function": "serve.autoscaling:PredictedWork",
                "policy_kwargs": {
                    "target_wait_s": declared.replicas.target_wait_s,
                    "slots": declared.concurrency,
                },
            },
        },
        "ray_actor_options": {
            "num_gpus": placement.share(name),
            "num_cpus": REPLICA_CPUS,
            "label_selector": {LABEL: LABELS[kind]},
            "runtime_env": {"env_vars": openmp(REPLICA_CPUS)},
        },
    }
