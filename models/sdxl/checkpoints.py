"""The checkpoints of the SDXL family: loaded by name, the last used kept."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.acceleration import lay_out
from models.denoise import dtype_on
from models.errors import BadRequest, WeightsMissing
from models.safe_files import only_safetensors
from models.strict import pipeline
from models.torchvision_ops import declare
from models.weights import Loading

BASE = "base"
OTHER_ROLES = frozenset({BASE, "instantid", "antelopev2"})  # and those with a colon, like "lora:NAME"


@dataclass(frozen=True, slots=True)
class Habits:
    """How a distilled checkpoint wants to be run: steps it was trained for, and its sampler and schedule (None for its own)."""

    least: int = 1
    most: int = 150
    sampler: str | None = None
    schedule: str | None = None


HABITS: Mapping[str, Habits] = {"turbo": Habits(most=4), "lightning": Habits(least=4, most=4, sampler="euler", schedule="simple")}


class Checkpoints:
    """Pipelines by checkpoint name.

    The base is always resident; of the others, the `spare` last used. Roles of `loading`: "base" and "turbo" are diffusers folders,
    "lightning" holds a UNet for the base, and every role outside OTHER_ROLES is the name of a checkpoint in a single file.
    `fit` is called on each pipeline when it is loaded, before its UNet is compiled.
    """

    def __init__(self, loading: Loading, fit: Callable[[Any], None], spare: int = 1) -> None:
        declare()
        self.loading = loading
        self.fit = fit
        self.spare = spare
        self.dtype = dtype_on(loading.device, "float16")
        self.names = (BASE, *sorted(role for role in loading.files if role not in OTHER_ROLES and ":" not in role))
        self.resident: tuple[str, ...] = ()  # of the others, those that are loaded
        self._loaded: OrderedDict[str, Any] = OrderedDict()
        self._base = self._ready(self._from_folder(loading.files[BASE]))

    def get(self, name: str | None) -> Any:
        """The pipeline of checkpoint `name`, loaded if need be; None is the base. Raises BadRequest for an unknown name."""
        if name is None or name == BASE:
            return self._base
        if name not in self.names:
            raise BadRequest(f"checkpoint must be one of {', '.join(self.names)}; got {name!r}")
        if name not in self._loaded:
            while len(self._loaded) >= self.spare:  # before loading, so that two never wait for the same memory
                self._loaded.popitem(last=False)
                self.resident = tuple(self._loaded)
                _free_memory(self.loading.device)
            self._loaded[name] = self._ready(self._load(name))
            self.resident = tuple(self._loaded)
        self._loaded.move_to_end(name)
        return self._loaded[name]

    def _load(self, name: str) -> Any:
        folder = self.loading.files[name]
        if name == "turbo":
            return self._from_folder(folder)
        if name == "lightning":
            return self._with_unet(only_safetensors(folder, "sdxl_lightning_4step_unet.safetensors"))
        return self._from_single_file(only_safetensors(folder, f"{name}.safetensors"))

    def _from_folder(self, folder: Path) -> Any:
        from models.sdxl.pipeline import FacePipeline

        half = (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").exists()
        options: dict[str, Any] = {"variant": "fp16"} if half else {}
        return pipeline(FacePipeline, folder, lambda _: self.dtype, settings={"add_watermarker": False}, **options)

    def _with_unet(self, file: Path) -> Any:
        """The base with another UNet; text encoders and VAE are shared with it."""
        import torch
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
        from safetensors.torch import load_file

        from models.sdxl.pipeline import FacePipeline

        shapes: Any = UNet2DConditionModel.load_config(self.loading.files[BASE], subfolder="unet")
        with torch.device("meta"):  # the weights come from the file alone
            unet: Any = UNet2DConditionModel.from_config(shapes)
        unet.load_state_dict(load_file(file), strict=True, assign=True)
        components = self._base.components | {"unet": unet.to(self.dtype).eval()}
        return FacePipeline(**components, add_watermarker=False)

    def _from_single_file(self, file: Path) -> Any:
        from models.sdxl.pipeline import FacePipeline

        shapes = str(self.loading.files[BASE])  # without it the loader asks the model hub
        options: dict[str, Any] = {"config": shapes, "dtype": self.dtype, "local_files_only": True, "add_watermarker": False}
        try:
            return FacePipeline.from_single_file(str(file), **options)
        except (NotImplementedError, KeyError, ValueError) as error:  # tensors left without data, or of another family
            raise WeightsMissing(f"{file.name} is not a whole SDXL model: {error}") from error

    def _ready(self, pipe: Any) -> Any:
        pipe.to(self.loading.device)
        _decode_in_float32(pipe.vae)
        lay_out(pipe.unet)
        lay_out(pipe.vae)
        pipe.vae.enable_slicing()  # a batch decodes picture by picture: the peak is that of one
        self.fit(pipe)
        if self.loading.compiled:
            pipe.unet.compile_repeated_blocks(fullgraph=True)
        return pipe


def _decode_in_float32(vae: Any) -> None:
    """Keep a VAE that overflows in half precision in float32; its pipeline would cast it to and fro, and log so, with each picture."""
    import torch

    if vae.config.force_upcast and vae.dtype == torch.float16:
        vae.to(torch.float32)
        vae.post_quant_conv.register_forward_pre_hook(lambda _, latents: (latents[0].float(),))


def _free_memory(device: str) -> None:
    if device.startswith("cuda"):
        import gc

        import torch

        gc.collect()
        torch.cuda.empty_cache()
