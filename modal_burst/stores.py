"""Where a container of the mirror finds weights and LoRAs: on the volume that all containers share, and where the cluster keeps LoRAs."""

from collections.abc import Mapping
from pathlib import Path

from deployments.spec.deployment import Deployment
from deployments.spec.lora import HOUSE_ROLE
from modal_burst.settings import MirrorSettings
from models.lora.files import LoraFiles
from models.lora.stack import LoraStack
from models.store import HubSource, MirrorSource, PinnedStore, read_lock
from models.tiny import TinyStore
from models.weights import WeightStore


def weight_store(settings: MirrorSettings) -> WeightStore:
    """The store of the place's profile."""
    if settings.profile == "tiny":
        return TinyStore(settings.weights_root / "tiny")
    source = MirrorSource(settings.weights_mirror) if settings.weights_mirror else HubSource(settings.hub_token)
    return PinnedStore(
        settings.weights_root, source, read_lock(), commercial_only=settings.refuses_non_commercial, grants=frozenset(settings.grants)
    )


def lora_stack(declared: Deployment, folders: Mapping[str, Path], settings: MirrorSettings, device: str) -> LoraStack | None:
    """The LoRAs of one model, for a deployment that takes any. `folders` are its weights by role."""
    if not declared.lora_slots:
        return None
    files = LoraFiles(settings.lora_root, settings.lora_cache, settings.lora_cache_bytes)
    house = {role.removeprefix(HOUSE_ROLE): folder for role, folder in folders.items() if role.startswith(HOUSE_ROLE)}
    return LoraStack(files, house, slots=declared.lora_slots, rank=declared.lora_rank, ram_bytes=settings.lora_ram_bytes, device=device)
