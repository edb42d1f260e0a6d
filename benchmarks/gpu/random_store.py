"""A weights store of the `full` profile with random weights at the published architectures, as its replicas find it on a host.

    python -m benchmarks.gpu.random_store MODEL ROOT [--smoke]

One model a process, so that several are built at once; prints the seconds and the size as JSON.
"""

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deployments import deployments
from models.store import folder_name

REVISION = "0" * 40  # of weights that nobody published
PICTURES = {"z-image": "z-image", "sdxl": "sdxl-instantid", "flux-dev": "flux-dev"}  # deployment, and its entry in picture_models.py
CLIPS = {"wan-ti2v": "ti2v"}
BUILT = (*PICTURES, *CLIPS)


def roles(name: str) -> tuple[str, ...]:
    """The checkpoints of a deployment that are built; the rest of them are optional, and it serves without."""
    from benchmarks.gpu import picture_models

    return picture_models.MODELS[PICTURES[name]].roles if name in PICTURES else ("base",)


def place(root: Path, repo: str) -> Path:
    return root / folder_name(repo) / REVISION


def build(name: str, root: Path, device: str) -> int:
    """Write a deployment's checkpoints below `root`. Returns the bytes of their weights."""
    from benchmarks.gpu import picture_models, wan
    from models.tiny import build as build_toy
    from models.torchvision_ops import declare

    declare()
    files = {role: place(root, deployments()[name].weights[role].repo) for role in roles(name)}
    if name in PICTURES:
        picture_models.write(picture_models.MODELS[PICTURES[name]], files, device)
    elif device == "cpu":
        files["base"].mkdir(parents=True)
        build_toy(deployments()[name].weights["base"].repo, files["base"])
    else:
        wan.build(files["base"], CLIPS[name], whole=True)
    return sum(file.stat().st_size for folder in files.values() for file in folder.rglob("*.safetensors"))


def pins(names: Iterable[str]) -> dict[str, Any]:
    """What `deployments/weights.lock` says of these models' checkpoints."""
    repos = [deployments()[name].weights[role].repo for name in names for role in roles(name)]
    return {repo: {"revision": REVISION, "files": {}} for repo in repos}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=BUILT)
    parser.add_argument("root", type=Path)
    parser.add_argument("--smoke", action="store_true", help="toy checkpoints, on the CPU")
    options = parser.parse_args()
    began = time.perf_counter()
    build(options.model, options.root, "cpu" if options.smoke else "cuda")
    size = sum(file.stat().st_size for file in options.root.rglob("*.safetensors"))
    print(
        json.dumps({"model": options.model, "build_s": round(time.perf_counter() - began, 1), "store_gb": round(size / 1e9, 1)}), flush=True
    )


if __name__ == "__main__":
    main()
