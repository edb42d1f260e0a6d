import re
from pathlib import Path

import pytest

from deployments import deployments, endpoints
from serve.readme import README, written

# serve/config/*.yaml and deploy/kuberay.yaml name models and are no exception: the planner writes them from the declarations, and
# tests/deployments/plan fails when they are not what it writes.
LOOPS = [
    *Path("serve").rglob("*.py"),
    *Path("modal_burst").rglob("*.py"),
    *Path("deployments/plan").rglob("*.py"),
    *Path("grafana").rglob("*.json"),
]
BARE = [Path("cluster.yaml"), Path("Dockerfile"), Path("serve/haproxy.sh")]


def test_the_table_of_endpoints_is_fresh():
    assert README.read_text() == written(README.read_text()), "run `python -m serve.readme`"


def test_a_readme_without_the_markers_is_refused():
    with pytest.raises(ValueError, match="needs the lines"):
        written("# nothing")


@pytest.mark.parametrize("path", LOOPS, ids=str)
def test_no_file_that_loops_over_the_declarations_names_one(path: Path):
    text = path.read_text()
    text = text.split("READY = ")[0] if path.name == "local.py" else text  # its greeting shows the main job's command
    quoted = {f'"{name}"' for name in deployments()} | {f'"{endpoint}"' for endpoint in endpoints()}
    assert not [name for name in quoted if name in text]
    assert not re.search(r"from deployments\.(?!spec|plan)\w+ import", text)


@pytest.mark.parametrize("path", BARE, ids=str)
def test_no_file_of_the_cluster_names_one(path: Path):
    text = path.read_text()
    assert not [name for name in [*deployments(), *endpoints()] if re.search(rf"(?<![\w/-]){re.escape(name)}(?![\w-])", text)]
