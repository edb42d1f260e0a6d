"""What a replica does with LoRAs: fetch, convert and keep them, and put them on its pipelines."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from models.errors import LoraRejected, WeightsMissing
from models.lora.adapter import Adapter, load_adapter
from models.lora.base import Base
from models.lora.files import LoraFiles
from models.lora.slot import Slot
from models.lora.tiers import ORDER, Load, Tier, Tiers
from models.task import LoraUse


class LoraStack:
    """LoRAs of one replica; fulfils `LoraSlots`.

    files: where registered LoRAs lie. house: folders of the LoRAs that ship with the model, by name. slots: adapters kept in GPU memory.
    rank: most that the ranks of the LoRAs worn at once may add up to. ram_bytes: memory for adapters beside the GPU.
    """

    def __init__(
        self, files: LoraFiles | None, house: Mapping[str, Path], *, slots: int, rank: int = 128, ram_bytes: int = 0, device: str = "cpu"
    ) -> None:
        self.tiers = Tiers(device, slots, ram_bytes)
        self._files = files
        self._house = house
        self._rank = rank
        self._slots: WeakKeyDictionary[Any, Slot] = WeakKeyDictionary()  # by pipeline; a family with many checkpoints has many
        self._base: Base | None = None
        self._dtype: Any = None

    @property
    def base(self) -> Base:
        """What LoRAs must fit; known once a pipeline was opened."""
        assert self._base is not None, "open a pipeline first"
        return self._base

    def open(self, pipe: Any) -> None:
        """Open the slot of a pipeline."""
        slot = self._slots[pipe] = Slot(pipe, self._rank)
        self._base, self._dtype = slot.base, slot.dtype

    def wear(self, pipe: Any, loras: tuple[LoraUse, ...]) -> None:
        """Put on exactly `loras`; none gives the plain model, bit by bit. Raises NotFound or LoraRejected, then nothing has changed."""
        slot = self._slots[pipe]
        worn = tuple((key_of(use), use.strength) for use in loras)
        if worn == slot.worn:
            slot.put_on(worn, [])
            return
        with self.tiers.hold(self._loads(loras)):
            slot.put_on(worn, [self.tiers.on_device(key) for key, _ in worn])

    @contextmanager
    def hold(self, loras: Sequence[LoraUse]) -> Generator[Tier | None]:
        """Inside, `loras` are in memory and stay; says where the slowest of them was found, None for no LoRAs.

        Called as soon as a task arrives, so that its LoRAs are fetched while the GPU still works on another.
        """
        if not loras:
            yield None
            return
        worn = {key for slot in self._slots.values() for key, _ in slot.worn or ()}
        with self.tiers.hold(self._loads(loras)) as found:
            tiers: list[Tier] = ["worn" if key in worn and tier == "vram" else tier for key, tier in found.items()]
            yield max(tiers, key=ORDER.index)

    def _loads(self, loras: Sequence[LoraUse]) -> dict[str, Load]:
        return {key_of(use): lambda use=use: self._load(use) for use in loras}

    def _load(self, use: LoraUse) -> tuple[Adapter, Tier]:
        tier: Tier = "disk"
        if use.sha256 and self._files is not None:
            file, tier = self._files.local(use.sha256)
        elif use.name in self._house and not use.sha256:
            file = _only_file(self._house[use.name])
        else:
            raise WeightsMissing(f"LoRA {use.name!r} is not installed with this model")
        try:
            return load_adapter(file, self.base, self._dtype), tier
        except LoraRejected as error:
            raise LoraRejected(f"LoRA {use.name!r}: {error.message}") from None


def key_of(use: LoraUse) -> str:
    """What tells LoRAs apart: their content, or the name of one that ships with the model."""
    return use.sha256 or f"house:{use.name}"


def _only_file(folder: Path) -> Path:
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        raise WeightsMissing(f"{folder.name} holds {len(files)} safetensors files where one LoRA is expected")
    return files[0]
