"""The RayService, against the schema of KubeRay's own resource definition."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from deployments import deployments

SCHEMA = json.loads(Path(__file__).with_name("kuberay").joinpath("rayservice-v1.schema.json").read_text())


@pytest.fixture
def service() -> dict[str, Any]:
    return yaml.safe_load(Path("deploy/kuberay.yaml").read_text())


def check(service: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(service)


def test_kuberays_schema_accepts_it(service: dict[str, Any]):
    check(service)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("spec", "rayClusterConfg"), {}, "rayClusterConfg"),
        (("spec", "rayClusterConfig", "authOptions", "mode"), "tokens", "tokens"),
        (("spec", "rayClusterDeletionDelaySeconds"), "long", "integer"),
        (("spec", "rayClusterConfig", "workerGroupSpecs", 0, "minReplicas"), 1.5, "integer"),
        (("spec", "rayClusterConfig", "headGroupSpec", "template", "spec", "containers", 0, "volumeMount"), [], "volumeMount"),
    ],
)
def test_it_would_refuse_a_slip(service: dict[str, Any], path: tuple[Any, ...], value: Any, words: str):
    place: Any = service
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError, match=words):
        check(service)


def test_it_serves_what_production_serves(service: dict[str, Any]):
    assert yaml.safe_load(service["spec"]["serveConfigV2"]) == yaml.safe_load(Path("serve/config/production.yaml").read_text())


def test_nothing_is_taken_down_before_the_longest_job_would_have_ended(service: dict[str, Any]):
    longest_s = max(d.replicas.longest_s for d in deployments().values())
    cluster = service["spec"]["rayClusterConfig"]
    pods = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert service["spec"]["rayClusterDeletionDelaySeconds"] >= longest_s
    assert all(pod["template"]["spec"]["terminationGracePeriodSeconds"] >= longest_s for pod in pods)


def test_the_head_is_backed_by_redis_asks_for_the_token_and_holds_no_replica(service: dict[str, Any]):
    cluster = service["spec"]["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["gcsFaultToleranceOptions"]["backend"] == "redis"
    assert "value" not in cluster["gcsFaultToleranceOptions"]["redisPassword"]
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
