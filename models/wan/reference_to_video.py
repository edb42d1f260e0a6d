"""Reference to video: Wan 2.1 VACE puts the people and things of the given pictures into a new clip."""

from typing import Any

from models.errors import BadRequest
from models.task import ReferenceToVideo
from models.wan.fit import fitted
from models.wan.runner import WanRunner

_WHITE = 255  # VACE was trained on references before a white ground


class WanReferenceToVideo(WanRunner):
    """A clip from a prompt and pictures of what it shows."""

    pipeline = "WanVACEPipeline"
    answers = ReferenceToVideo

    def conditions(self, task: ReferenceToVideo) -> dict[str, Any]:
        """The references, each brought to the clip's size here because the pipeline would shrink them without a filter."""
        from PIL import Image

        pictures = [Image.fromarray(fitted(picture, task.width, task.height, "contain", border=_WHITE)) for picture in task.references]
        return {"reference_images": pictures, "conditioning_scale": float(task.strength)}

    def check(self, task: ReferenceToVideo) -> None:
        """Also refuse more references than the clip has latent frames, on which the pipeline fails."""
        super().check(task)
        most = (min(task.num_frames, self.longest) - 1) // self.pipe.vae_scale_factor_temporal + 1
        if not 1 <= len(task.references) <= most:
            raise BadRequest(f"a clip of {task.num_frames} frames takes 1 to {most} references, got {len(task.references)}")
