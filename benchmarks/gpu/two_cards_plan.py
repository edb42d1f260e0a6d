"""Which models the benchmark of two cards serves, where each goes, and how it is called."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.endpoints import SMALL
from benchmarks.gpu.mixed_load import Target
from deployments import deployments
from deployments.plan.placement import Card, Placement
from deployments.plan.serve_config import production
from deployments.spec.deployment import CARD_GB, Accelerator
from models.media import as_data_url
from serve.samples import sample

SHARING, BESIDE = ("z-image", "sdxl"), "wan-ti2v"
MODELS = (*SHARING, BESIDE)
KINDS: dict[str, Accelerator] = {"z-image": "A100-80GB", "sdxl": "A100-80GB", "wan-ti2v": "L40S"}


def targets(*, small: bool) -> dict[str, Target]:
    """The endpoints' own defaults; small ones for toys on a CPU."""
    cut = {name: SMALL[name] for name in ("width", "height", "steps")} if small else {}
    face, length = {"reference_image": as_data_url(sample("astronaut"), "image/png")}, {"length": SMALL["length"]} if small else {}
    return {
        "z-image": Target("z-image", "/z-image-danrisi", cut),
        "sdxl": Target("sdxl", "/sdxl-instantid", cut | face),
        "wan-ti2v": Target("wan-ti2v", "/wan2.6-i2v", cut | length | face),
    }


def placement() -> Placement:
    """Where each model goes; one replica each, so that what is measured is one beside the other."""
    declared = {name: deployments()[name] for name in MODELS}
    alone = {name: replace(one, replicas=replace(one.replicas, min=1, max=1)) for name, one in declared.items()}
    cards = (Card("A100-80GB", SHARING, ()), Card("L40S", (BESIDE,), ()))
    return Placement(alone, KINDS, cards, (), ())


def config(code: Path, port: int, total_gb: float | None) -> dict[str, Any]:
    """Serve's configuration of the placement, for the release in `code` on cards of `total_gb`; None for cards that are only counted."""
    found = on_cards(production(placement(), gateways=1, code=str(code)), total_gb)
    found["http_options"]["port"] = port
    return found


def shares(config: dict[str, Any]) -> dict[str, float]:
    """Part of its card that each model asks for."""
    options = [one for app in config["applications"] for one in app["deployments"] if one["name"] in KINDS]
    return {one["name"]: one["ray_actor_options"]["num_gpus"] for one in options}


def on_cards(config: dict[str, Any], total_gb: float | None) -> dict[str, Any]:
    """The configuration with shares of cards of `total_gb` that hold the same memory; None for cards that are only counted."""
    for app in config["applications"]:
        for options in app["deployments"]:
            if options["name"] in KINDS and total_gb is not None:
                actor = options["ray_actor_options"]
                actor["num_gpus"] = round(actor["num_gpus"] * CARD_GB[KINDS[options["name"]]] / total_gb, 4)
        if "cards_ahead" in app["args"]:
            app["args"]["cards_ahead"] = 0.0  # labels alone say where each goes
    return config


def card_gb() -> float:
    """Memory of the smallest card, in GB, as torch counts it."""
    code = "import torch; print(min(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())))"
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout) / 1e9
