from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load(Path("cluster.yaml").read_text())


def test_rays_own_schema_accepts_it(cluster: dict[str, Any]):
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_rays_own_schema_would_refuse_a_slip(cluster: dict[str, Any]):
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(Exception, match="max_workerz"):
        validate_config(prepare_config(cluster | {"max_workerz": 4}))


def test_every_node_asks_for_the_token_and_the_head_holds_no_replica(cluster: dict[str, Any]):
    starts = [command for role in ("head", "worker") for command in cluster[f"{role}_start_ray_commands"] if "ray start" in command]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert "--num-cpus=0 --num-gpus=0" in starts[0]
    assert "0.0.0.0" not in "".join(starts)


def test_all_workers_are_wanted_and_none_is_ever_scaled_in(cluster: dict[str, Any]):
    workers = len(cluster["provider"]["worker_ips"])
    assert cluster["min_workers"] == cluster["max_workers"] == workers
    assert cluster["idle_timeout_minutes"] > 60 * 24 * 300
