"""The runner of Qwen-Image-Edit: pictures and an instruction to a picture, whole or within a mask."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from models.denoise import as_frames, check_steps, generators, render
from models.errors import BadRequest
from models.lora import LoraSlots, wear
from models.qwen_image.guidance import guided
from models.qwen_image.lightning import habit
from models.runner import Call, Frames
from models.task import EditImage, Image, InpaintImage, Task
from models.torchvision_ops import declare
from models.weights import Loading

MOST_PIXELS = 1328 * 1328  # the largest square that the model was trained on
LEAST_PIXELS = 256 * 256
MOST_IMAGES = 3


class QwenImageEdit:
    """Qwen-Image-Edit-2511 from the role "base"; "lightning" is the LoRA for four steps and may be absent.

    The model sees the pictures twice, through its vision encoder and as clean latents beside the noise. One task at a time: the
    pipeline refuses batches (diffusers 0.42). A result of a size the model cannot paint is painted near it and resized.
    """

    def __init__(self, loading: Loading, slots: LoraSlots | None = None) -> None:
        declare()
        from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import QwenImageEditPlusPipeline

        from models.qwen_image.loading import load

        self.slots = slots
        self.pipe, self.lightning = load(QwenImageEditPlusPipeline, loading, slots)

    def run(self, task: Task, call: Call) -> Iterator[Frames]:
        """Yield the one picture of `task`."""
        if not isinstance(task, EditImage):
            raise BadRequest(f"Qwen-Image-Edit changes pictures, which {type(task).__name__} has none of")
        check_steps(task.steps)
        if not 1 <= len(task.images) <= MOST_IMAGES:
            raise BadRequest(f"an edit takes one to {MOST_IMAGES} pictures, got {len(task.images)}")
        wear(self.slots, self.pipe, task.loras)
        with habit(self.lightning, task.checkpoint, task.steps):
            pixels = self._inpainted(task, call) if isinstance(task, InpaintImage) else self._edited(task, call)
        yield Frames(pixels[None], np.zeros(1))

    def close(self) -> None:
        """Drop the model."""
        del self.pipe, self.lightning

    def _edited(self, task: EditImage, call: Call) -> Image:
        return _resized(self._painted(task, call, painted_size(task.width, task.height)), task.width, task.height)

    def _inpainted(self, task: InpaintImage, call: Call) -> Image:
        from models.qwen_image.mask import KeepingScheduler, laid_over, stretched

        source = task.images[0]
        height, width = source.shape[:2]
        free = stretched(task.mask, width, height)
        size = painted_size(width, height)
        own: Any = self.pipe.scheduler
        keeping: Any = KeepingScheduler.from_config(own.config)
        keeping.kept = self._kept(task, size)
        self.pipe.scheduler = keeping
        try:
            painted = self._painted(task, call, size, latents=keeping.kept.noise)
        finally:
            self.pipe.scheduler = own
        return laid_over(source, _resized(painted, width, height), free, task.feather)

    def _painted(self, task: EditImage, call: Call, size: tuple[int, int], **arguments: Any) -> Image:
        from PIL import Image as Pillow

        width, height = size
        call.facts["painted"] = f"{width}x{height}"
        images = render(
            self.pipe,
            [task],
            [call],
            image=[Pillow.fromarray(image) for image in task.images],
            prompt=[task.prompt],
            width=width,
            height=height,
            num_inference_steps=task.steps,
            **guided([task]),
            **arguments,
        )
        return as_frames(images)[0].pixels[0]

    def _kept(self, task: InpaintImage, size: tuple[int, int]) -> Any:
        """Packed latents (1, tokens, 4·channels) of the source, the noise and the mask."""
        import torch

        from models.qwen_image.mask import Kept, cells, stretched

        width, height = size
        vae, device = self.pipe.vae, self.pipe.device
        picture = torch.from_numpy(_resized(task.images[0], width, height)).permute(2, 0, 1)[None, :, None] / 127.5 - 1
        with torch.no_grad():
            source = self.pipe._encode_vae_image(picture.to(device, vae.dtype), generators([task])[0])  # (1, C, 1, h, w)
        noise = torch.randn(source.shape, generator=generators([task])[0]).to(source)
        free = cells(stretched(task.mask, width, height)).to(source)[:, :, None].expand_as(source)
        rows, columns = source.shape[-2:]
        packed = [self.pipe._pack_latents(part, 1, source.shape[1], rows, columns) for part in (source, noise, free)]
        return Kept(*packed)


def painted_size(width: int, height: int) -> tuple[int, int]:
    """The size near width × height that the model paints: multiples of 16 of about the same shape, neither too many pixels nor too few."""
    pixels = width * height
    scale = (min(max(pixels, LEAST_PIXELS), MOST_PIXELS) / pixels) ** 0.5
    sides = [max(16, round(side * scale / 16) * 16) for side in (width, height)]
    return sides[0], sides[1]


def _resized(pixels: Image, width: int, height: int) -> Image:
    from PIL import Image as Pillow

    if pixels.shape[:2] == (height, width):
        return pixels
    return np.array(Pillow.fromarray(pixels).resize((width, height), Pillow.Resampling.LANCZOS))
