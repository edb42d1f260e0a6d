"""Where a place keeps its weights and LoRAs."""

from collections.abc import Mapping
from pathlib import Path

from deployments.spec.deployment import Deployment
from deployments.spec.lora import HOUSE_ROLE
from models.lora.files import LoraFiles
from models.lora.stack import LoraStack
from models.store import HubSource, MirrorSource, PinnedStore, read_lock
from models.tiny import TinyStore
from models.weights import WeightStore
from serve.settings import Settings


def weight_store(settings: Settings) -> WeightStore:
    """The store of the place's profile: tiny checkpoints built here, or the pinned ones."""
    if settings.profile == "tiny":
        return TinyStore(settings.weights_root / "tiny")
    source = MirrorSource(settings.weights_mirror) if settings.weights_mirror else HubSource(settings.hub_token)
    return PinnedStore(
        settings.weights_root, source, read_lock(), commercial_only=settings.refuses_non_commercial, grants=frozenset(settings.grants)
    )


def lora_files(settings: Settings) -> LoraFiles:
    """The files of the place's LoRAs."""
    return LoraFiles(settings.lora_root, settings.lora_cache, settings.lora_cache_bytes)


def lora_stack(declared: Deployment, files: Mapping[str, Path], settings: Settings, device: str) -> LoraStack | None:
    """The LoRAs of one replica, for a deployment that takes any. `files` are its folders by role."""
    if not declared.lora_slots:
        return None
    house = {role.removeprefix(HOUSE_ROLE): folder for role, folder in files.items() if role.startswith(HOUSE_ROLE)}
    return LoraStack(
        lora_files(settings),
        house,
        slots=declared.lora_slots,
        rank=declared.lora_rank,
        ram_bytes=settings.lora_ram_bytes,
        device=device,
    )
