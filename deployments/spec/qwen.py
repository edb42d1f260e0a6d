"""What the Qwen-Image endpoints share: the sizes the model was trained on, and what it avoids by default."""

from typing import Any

from pydantic import Field

from deployments.spec.fields import Guidance, Steps
from deployments.spec.image import CFG_ALIASES, STEPS_ALIASES, Sizes
from deployments.spec.request import Request

QWEN_SIZES: Sizes = {
    "1:1": (1328, 1328),
    "16:9": (1664, 928),
    "9:16": (928, 1664),
    "4:3": (1472, 1104),
    "3:4": (1104, 1472),
    "3:2": (1584, 1056),
    "2:3": (1056, 1584),
}

# Chinese, since the model follows it best there: blurry, low quality, deformed hands and limbs, plastic skin, garbled text, flat light.
QWEN_NEGATIVE = "模糊，低质量，手部畸形，肢体错误，塑料感皮肤，文字错乱，光线平淡，构图混乱"
EDIT_NEGATIVE = "blurry, low quality, distorted anatomy, unnatural seams, changed identity, garbled text"
LIGHTNING_STEPS = 4


class LightningChoice(Request):
    """A request that may be painted in four steps."""

    steps: Steps = Field(default=50, validation_alias=STEPS_ALIASES)
    cfg: Guidance = Field(default=4.0, validation_alias=CFG_ALIASES)
    use_lightning_lora: bool = Field(
        default=False, description=f"Paint with the Lightning LoRA; steps is then {LIGHTNING_STEPS} and cfg 1 unless they are given."
    )

    def lightning_fields(self) -> dict[str, Any]:
        """Steps, guidance and checkpoint of the task."""
        if not self.use_lightning_lora:
            return {"steps": self.steps, "guidance": self.cfg, "checkpoint": None}
        given = self.model_fields_set
        return {
            "steps": self.steps if "steps" in given else LIGHTNING_STEPS,
            "guidance": self.cfg if "cfg" in given else 1.0,
            "checkpoint": "lightning",
        }
