import re
from pathlib import Path

import pytest

from deployments import deployments, endpoints
from serve.readme import README, written

LOOPS = [*Path("serve").rglob("*.py"), *Path("modal_burst").rglob("*.py"), *Path("grafana").rglob("*.json")]


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
    assert not re.search(r"from deployments\.(?!spec)\w+ import", text)
