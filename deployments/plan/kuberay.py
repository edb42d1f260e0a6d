"""Writes a RayService for KubeRay: the same Serve configuration, and one worker pod a card. `kubectl apply -f deploy/kuberay.yaml`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from deployments.plan.placement import Fleet
from deployments.spec.deployment import Accelerator, Deployment

IMAGE: Final = "ryla-cluster:0.1.0"
RAY: Final = "2.60.0"
# What Ray and NVIDIA's feature discovery call each kind of card.
RAY_LABEL: Final[Mapping[Accelerator, str]] = {"L40S": "L40S", "A100-80GB": "A100"}
NODE_LABEL: Final[Mapping[Accelerator, str]] = {"L40S": "NVIDIA-L40S", "A100-80GB": "NVIDIA-A100-SXM4-80GB"}
WORKER: Final = {"cpu": "12", "memory": "96Gi", "nvidia.com/gpu": "1"}  # four replicas of two CPUs at most share a card
HEAD: Final = {"cpu": "4", "memory": "16Gi"}
SECRETS: Final = "ryla"  # its keys are the environment: RYLA_API_KEYS, RYLA_DATABASE_URL, …


def ray_service(fleet: Fleet, declared: Sequence[Deployment], config: Mapping[str, Any]) -> dict[str, Any]:
    """The RayService of `fleet`, with Serve's `config`. Nothing is taken down before the longest job of `declared` would have ended."""
    longest_s = int(max(deployment.replicas.longest_s for deployment in declared))
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "ryla"},
        "spec": {
            # A second cluster beside this one would need every card twice: changes of the pods are rolled out by hand, node by node.
            "upgradeStrategy": {"type": "None"},
            "rayClusterDeletionDelaySeconds": longest_s,
            "excludeHeadPodFromServeSvc": True,
            "serveConfigV2": yaml.safe_dump(dict(config), sort_keys=False, width=140),
            "rayClusterConfig": {
                "rayVersion": RAY,
                "authOptions": {"mode": "token"},
                "gcsFaultToleranceOptions": {
                    "backend": "redis",
                    "redisAddress": "ryla-redis:6379",
                    "redisPassword": {"valueFrom": {"secretKeyRef": {"name": "ryla-redis", "key": "password"}}},
                },
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0", "num-gpus": "0"},
                    "template": {"spec": _pod("ray-head", HEAD, longest_s)},
                },
                "workerGroupSpecs": [_workers(kind, count, longest_s) for kind, count in fleet.items() if count],
            },
        },
    }


def dump(service: Mapping[str, Any], command: str) -> str:
    """The file's text. command: what wrote it."""
    head = f"# Written by `{command}`; do not edit, write it anew.\n# Needs the secrets {SECRETS} and ryla-redis, and a Redis.\n"
    return head + yaml.dump(dict(service), Dumper=_Blocks, sort_keys=False, width=140)


class _Blocks(yaml.SafeDumper):
    """Long texts as blocks, so that the file can be read."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Blocks.add_representer(str, _text)


def _workers(kind: Accelerator, count: int, longest_s: int) -> dict[str, Any]:
    """One pod a card: then no card can be broken up by what runs on the next."""
    pod = _pod("ray-worker", WORKER, longest_s) | {"nodeSelector": {"nvidia.com/gpu.product": NODE_LABEL[kind]}}
    return {
        "groupName": kind.lower(),
        "replicas": count,
        "minReplicas": count,
        "maxReplicas": count,
        "labels": {"ray.io/accelerator-type": RAY_LABEL[kind]},
        "rayStartParams": {},
        "template": {"spec": pod},
    }


def _pod(name: str, resources: Mapping[str, str], longest_s: int) -> dict[str, Any]:
    return {
        "terminationGracePeriodSeconds": longest_s,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000},
        "containers": [
            {
                "name": name,
                "image": IMAGE,
                "envFrom": [{"secretRef": {"name": SECRETS}}],
                "resources": {"limits": dict(resources), "requests": dict(resources)},
                "volumeMounts": [{"name": "models", "mountPath": "/models"}, {"name": "shm", "mountPath": "/dev/shm"}],
            }
        ],
        "volumes": [
            {"name": "models", "hostPath": {"path": "/models", "type": "Directory"}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}},
        ],
    }
