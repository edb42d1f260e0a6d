"""Image to video: Wan 2.2 TI2V (the picture's latents stand as the first frame) and I2V A14B (two experts)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.lora import LoraSlots
from models.runner import Call, Frames
from models.task import Image, ImageToVideo, Task
from models.wan.fit import FaceFinder, fitted
from models.wan.runner import WanRunner
from models.weights import Loading


class WanImageToVideo(WanRunner):
    """A picture set in motion. How the picture enters, and whether there are two experts, is read from the checkpoint.

    find_face: for `fit="smart"`; None for the bundled detector.
    """

    pipeline = "WanImageToVideoPipeline"
    answers = ImageToVideo

    def __init__(
        self,
        loading: Loading,
        slots: LoraSlots | None = None,
        *,
        flow_shift: float | None = None,
        find_face: FaceFinder | None = None,
    ) -> None:
        super().__init__(loading, slots, flow_shift=flow_shift)
        self.find_face = find_face

    def conditions(self, task: ImageToVideo) -> dict[str, Any]:
        """The picture, which is fitted by now."""
        from PIL import Image

        return {"image": Image.fromarray(task.image)}

    def run(self, task: Task, call: Call) -> Iterator[Frames]:
        """Fit the picture once, then as every Wan."""
        mine = self._mine(task)
        assert isinstance(mine, ImageToVideo)
        self.check(mine)
        return super().run(replace(mine, image=fitted(mine.image, mine.width, mine.height, mine.fit, self.find_face)), call)

    def first_frame(self, task: ImageToVideo) -> Image:
        """The picture itself."""
        return task.image

    def at_size(self, task: Any, width: int, height: int) -> ImageToVideo:
        """The picture's last rows and columns are repeated into what is cut away later."""
        added = ((0, height - task.height), (0, width - task.width), (0, 0))
        return replace(task, width=width, height=height, image=np.pad(task.image, added, "edge"))

    def following(self, task: Any, tail: NDArray[np.uint8]) -> ImageToVideo:
        """The next segment begins at the first frame that it shares with the one before."""
        return replace(task, image=tail[0])
