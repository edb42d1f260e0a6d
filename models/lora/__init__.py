"""LoRAs: checked before they are loaded, kept in tiers (GPU, RAM, disk), worn on a resident model without reloading it.

Everything that needs torch is imported where it is used, so that this package is cheap to import.
"""

from models.lora.slots import LoraSlots, wear

__all__ = ["LoraSlots", "wear"]
