"""onnxruntime sessions: which provider a device gets, and quiet logs."""

import logging
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def providers(device: str) -> list[Any]:
    """Providers for "cpu", "cuda" or "cuda:1", best first; the CPU alone, with a warning, where onnxruntime has no CUDA."""
    import onnxruntime

    if not device.startswith("cuda"):
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        log.warning("onnxruntime has no CUDA provider here: its networks run on the CPU (install onnxruntime-gpu, without onnxruntime)")
        return ["CPUExecutionProvider"]
    index = int(device.partition(":")[2] or 0)
    # The default arena doubles on every growth, which a shared card cannot afford.
    return [("CUDAExecutionProvider", {"device_id": index, "arena_extend_strategy": "kSameAsRequested"}), "CPUExecutionProvider"]


def options() -> Any:
    """Session options for all networks: no warning about inswapper's unused table, and idle threads sleep instead of spinning."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return settings


def open_session(model: Path | bytes, device: str) -> Any:
    """An InferenceSession on a file or a serialised model."""
    import onnxruntime

    source = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(source, options(), providers=providers(device))
