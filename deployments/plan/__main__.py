"""`python -m deployments.plan --l40s N --a100 M`: what fits on these cards, and the Serve configuration that puts it there."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from deployments import deployments, endpoints
from deployments.plan import kuberay
from deployments.plan.packing import pack
from deployments.plan.placement import Fleet
from deployments.plan.report import report
from deployments.plan.serve_config import dump, production, tiny

PRODUCTION, TINY, KUBERAY = Path("serve/config/production.yaml"), Path("serve/config/tiny.yaml"), Path("deploy/kuberay.yaml")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the placement and, with `--write`, write `production.yaml`, `tiny.yaml` and `kuberay.yaml`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--l40s", type=int, default=0, help="number of L40S (48 GB)")
    parser.add_argument("--a100", type=int, default=0, help="number of A100 (80 GB)")
    parser.add_argument("--demand", type=Path, help="JSON file: GPU seconds an hour by model; else every endpoint is called equally often")
    parser.add_argument("--write", type=Path, nargs="?", const=Path(), help=f"write {PRODUCTION}, {TINY} and {KUBERAY}, in this folder")
    parser.add_argument(
        "--gateways", type=int, default=2, help="gateways, at most one a host; more than one need RYLA_DATABASE_URL on Postgres"
    )
    parser.add_argument("--code", help="folder with this code on every node; not given: the image's own")
    options = parser.parse_args(arguments)
    fleet: Fleet = {"L40S": options.l40s, "A100-80GB": options.a100}
    declared = list(deployments().values())
    try:
        placement = pack(fleet, declared, demand(options.demand))
        config = production(placement, gateways=options.gateways, code=options.code)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print(report(fleet, placement))
    if options.write is not None:
        command = f"python -m deployments.plan --l40s {options.l40s} --a100 {options.a100} --write"
        _write(options.write / PRODUCTION, dump(config, command))
        _write(options.write / TINY, dump(tiny(declared), command))
        _write(options.write / KUBERAY, kuberay.dump(kuberay.ray_service(fleet, declared, config), command))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"Written: {path}")


def demand(path: Path | None) -> Mapping[str, float]:
    """What is asked of each model. Raises ValueError for a file that is not an object of numbers."""
    if path is None:
        return Counter(name for endpoint in endpoints().values() for name in endpoint.deployments)
    found = json.loads(path.read_text())
    if not isinstance(found, dict) or not all(isinstance(value, int | float) for value in found.values()):
        raise ValueError(f'{path} must be a JSON object of numbers by model: {{"name": GPU seconds an hour}}')
    return found


if __name__ == "__main__":
    main()
