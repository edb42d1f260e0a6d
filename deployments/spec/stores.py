"""Where a place keeps weights and LoRAs: the same for a replica of the cluster and for a container of its mirror."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from deployments.spec.deployment import Deployment
from deployments.spec.lora import HOUSE_ROLE
from models.lora.files import LoraFiles
from models.lora.stack import LoraStack
from models.runner import Profile
from models.store import HubSource, MirrorSource, PinnedStore, read_lock
from models.tiny import TinyStore
from models.weights import WeightStore


class Keeping(Protocol):
    """The settings of a place that say where and how much it keeps."""

    @property
    def profile(self) -> Profile:
        """Which weights are loaded."""
        ...

    @property
    def weights_root(self) -> Path:
        """Folder of checkpoints."""
        ...

    @property
    def weights_mirror(self) -> str | None:
        """Where pinned checkpoints are fetched from; None for the hub."""
        ...

    @property
    def hub_token(self) -> str | None:
        """For gated repositories on the hub."""
        ...

    @property
    def grants(self) -> tuple[str, ...]:
        """Repositories with a non-commercial licence that the operator may use."""
        ...

    @property
    def refuses_non_commercial(self) -> bool:
        """Whether weights without a commercial licence are refused."""
        ...

    @property
    def lora_root(self) -> str:
        """Where uploaded LoRAs are kept: a folder or a URL."""
        ...

    @property
    def lora_cache(self) -> Path:
        """Folder for LoRAs fetched from there."""
        ...

    @property
    def lora_cache_bytes(self) -> int:
        """Size of that folder."""
        ...

    @property
    def lora_ram_bytes(self) -> int:
        """Memory for LoRAs beside those on the card."""
        ...


def weight_store(place: Keeping) -> WeightStore:
    """The store of the place's profile: tiny checkpoints built there, or the pinned ones."""
    if place.profile == "tiny":
        return TinyStore(place.weights_root / "tiny")
    source = MirrorSource(place.weights_mirror) if place.weights_mirror else HubSource(place.hub_token)
    return PinnedStore(
        place.weights_root, source, read_lock(), commercial_only=place.refuses_non_commercial, grants=frozenset(place.grants)
    )


def lora_files(place: Keeping) -> LoraFiles:
    """The files of the place's LoRAs."""
    return LoraFiles(place.lora_root, place.lora_cache, place.lora_cache_bytes)


def lora_stack(declared: Deployment, folders: Mapping[str, Path], place: Keeping, device: str) -> LoraStack | None:
    """The LoRAs of one loaded model, for a deployment that takes any. `folders` are its weights by role."""
    if not declared.lora_slots:
        return None
    house = {role.removeprefix(HOUSE_ROLE): folder for role, folder in folders.items() if role.startswith(HOUSE_ROLE)}
    return LoraStack(
        lora_files(place), house, slots=declared.lora_slots, rank=declared.lora_rank, ram_bytes=place.lora_ram_bytes, device=device
    )
