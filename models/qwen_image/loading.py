"""What both Qwen-Image runners do to a pipeline before its first run."""

from typing import Any

from models.acceleration import prepare
from models.denoise import dtype_on
from models.lora import LoraSlots
from models.qwen_image.lightning import Lightning
from models.strict import pipeline
from models.weights import Loading


def load(kind: type[Any], loading: Loading, slots: LoraSlots | None) -> tuple[Any, Lightning | None]:
    """A pipeline of class `kind` from the role "base", and the role "lightning" on it when there is one."""
    dtype = dtype_on(loading.device, "bfloat16")
    pipe = pipeline(kind, loading.files["base"], lambda _: dtype)
    # Hidden states of the system text are cut off by their number, which is a constant of the class: true of one vocabulary only.
    system = pipe.prompt_template_encode.partition("{}")[0]
    pipe.prompt_template_encode_start_idx = len(pipe.tokenizer(system).input_ids)
    pipe.to(loading.device)
    if slots is not None:
        slots.open(pipe)
    lightning = Lightning(pipe, loading.files["lightning"]) if "lightning" in loading.files else None
    prepare(pipe, loading.device, compiled=loading.compiled)
    pipe.vae.enable_slicing()  # a batch decodes picture by picture: the peak is that of one
    return pipe, lightning
