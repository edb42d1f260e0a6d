"""Where and how a loaded pipeline runs: device, memory layout, threads, compilation and the limit of its share of a card."""

import logging
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from models.errors import OutOfMemory

log = logging.getLogger("ryla.acceleration")


def default_device() -> str:
    """The device a replica loads on: the card it was given, or the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def card_name() -> str:
    """Name of that device as the rate table spells it: "L40S", "A100-80GB", "H200", "CPU"."""
    import torch

    if not torch.cuda.is_available():
        return "CPU"
    full = torch.cuda.get_device_name()
    kind = re.search(r"\b([A-Z]+\d+[A-Z]*)\b", full)
    size = re.search(r"(\d+)\s?GB", full)
    if kind is None:
        return full
    return f"{kind[1]}-{size[1]}GB" if size else kind[1]


def openmp(threads: int) -> dict[str, str]:
    """OpenMP's settings of a replica. Ray's own is one thread, which libgomp never forgets: more threads, asked for later, then crawl.

    Passive waiting: threads that spin for each other stall the whole replica when the machine is busy.
    """
    return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}


def compiles(wanted: bool, device: str) -> bool:
    """Whether networks are compiled on `device`: where that is wanted, on cards, and where torch's compiler finds a C compiler."""
    if not wanted or not device.startswith("cuda"):
        return False
    found = any(shutil.which(name) for name in (os.environ.get("CC", ""), "gcc", "clang") if name)
    if not found:
        log.warning("RYLA_COMPILED is on, but there is no gcc or clang for torch's compiler here; serving plain networks")
    return found


def limit_memory(share: float, device: str) -> None:
    """Keep this process to `share` (0..1] of the card's memory; Ray's fractions only count, they limit nothing. No effect on the CPU."""
    import torch

    if device.startswith("cuda"):
        _, _, index = device.partition(":")
        torch.cuda.set_per_process_memory_fraction(share, int(index) if index else torch.cuda.current_device())


def vram_bytes(share: float) -> dict[str, float]:
    """Memory of this process on its card, its `share` of the card, and what is free on the whole card."""
    import torch

    free, total = torch.cuda.mem_get_info()
    reserved, allocated = torch.cuda.memory_reserved(), torch.cuda.memory_allocated()
    return {"allocated": float(allocated), "reserved": float(reserved), "share": total * share, "card_free": float(free)}


@contextmanager
def memory_guard(remedy: str) -> Generator[None]:
    """Turn a card's out-of-memory error into OutOfMemory that tells the `remedy` ("fewer frames or a smaller size")."""
    import torch

    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory(f"the card ran out of memory; ask for {remedy}") from error


def settle(device: Any) -> None:
    """Wait until the card has done what it was given, so that progress is true and a cancel stops within a step."""
    import torch

    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


def prepare(pipe: Any, device: str, *, compiled: bool = False) -> Any:
    """Place a video pipeline on `device` and set it up for speed. Weights keep the number format they were loaded with.

    Attention is left to torch: on an H200 its own choice was 5 % faster than cuDNN's kernel by name (benchmarks/gpu/wan.py).
    compiled: compile the transformers' repeated blocks: a quarter to a third faster there, the first run of a shape about 10 s slower.
    """
    pipe.to(device)
    pipe.set_progress_bar_config(disable=True)
    lay_out(pipe.vae)
    if device == "cpu":
        use_all_cores()
        use_onednn(pipe.vae)
    if compiled:
        for model in (pipe.transformer, getattr(pipe, "transformer_2", None)):
            if model is not None:
                model.compile_repeated_blocks(fullgraph=True)
    return pipe


def lay_out(model: Any) -> None:
    """Store convolution weights with channels last: what both oneDNN and cuDNN compute in, so nothing is reordered on the way."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
        elif isinstance(module, torch.nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


def use_onednn(model: Any) -> None:
    """Send 3-D convolutions to oneDNN. torch (2.13) keeps narrow ones on a fallback that is several times slower; results agree to 1e-5."""
    import torch

    convolutions: list[Any] = [module for module in model.modules() if isinstance(module, torch.nn.Conv3d)]
    for convolution in convolutions:
        convolution._conv_forward = partial(_onednn, convolution)


def _onednn(c: Any, x: Any, weight: Any, bias: Any) -> Any:
    import torch

    return torch.mkldnn_convolution(x, weight, bias, c.padding, c.stride, c.dilation, c.groups)


def use_all_cores() -> None:
    """Let torch use every core this process may run on. Ray sets one thread for a replica with a small CPU share."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
