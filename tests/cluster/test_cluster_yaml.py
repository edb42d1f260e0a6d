import re
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


def test_the_head_keeps_what_it_knows_in_redis_on_another_host_by_a_password_that_is_not_in_the_file(cluster: dict[str, Any]):
    head = next(command for command in cluster["head_start_ray_commands"] if "ray start" in command)
    address = re.search(r"RAY_REDIS_ADDRESS=([\d.]+):\d+", head)
    assert address is not None
    assert address[1] != cluster["provider"]["head_ip"]
    assert '--redis-password="$(cat ' in head


def test_hosts_say_which_cards_they_have_and_replicas_are_packed(cluster: dict[str, Any]):
    assert "--labels-file=" in cluster["worker_start_ray_commands"][-1]
    assert "RAY_SERVE_USE_PACK_SCHEDULING_STRATEGY=1" in cluster["head_start_ray_commands"][-1]


def test_all_workers_are_wanted_and_none_is_ever_scaled_in(cluster: dict[str, Any]):
    workers = len(cluster["provider"]["worker_ips"])
    assert cluster["min_workers"] == cluster["max_workers"] == workers
    assert cluster["idle_timeout_minutes"] > 60 * 24 * 300


def test_the_image_is_pinned_and_sets_what_the_cluster_starts_with(cluster: dict[str, Any]):
    image = Path("Dockerfile").read_text()
    assert re.search(r"^FROM \S+:\d+\.\d+\.\d+", image, re.MULTILINE)
    assert all(Path(source).exists() for line in re.findall(r"^COPY (.+)$", image, re.MULTILINE) for source in line.split()[:-1])
    assert "latest" not in image
    code, *_, start = re.findall(r"^WORKDIR (\S+)", image, re.MULTILINE)
    assert not start.startswith(code), "Ray puts the folder it is started in before any release of the code"
    set_here = dict(re.findall(r"(\w+)=(\S+)", cluster["head_start_ray_commands"][-1].split(";")[0]))
    built_in = dict(re.findall(r"^\s+(\w+)=(\S+)", image.split("ENV ")[1], re.MULTILINE))
    both = set(set_here) & set(built_in)
    assert {"RAY_SERVE_ENABLE_HA_PROXY", "RAY_AUTH_MODE", "RAY_SERVE_USE_PACK_SCHEDULING_STRATEGY"} <= both
    assert {name: set_here[name] for name in both} == {name: built_in[name] for name in both}
