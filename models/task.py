"""What a runner understands: one frozen class a kind of work, validated, free of wire quirks.

Images are uint8 RGB arrays (H, W, 3). A task crosses process boundaries, so it holds plain data only. The seed is always
set: the ingress draws one when the caller gives none, so a task that is retried or sent elsewhere gives the same pixels.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]  # (H, W, 3), RGB
Fit: TypeAlias = Literal["contain", "cover", "smart"]
FaceRule: TypeAlias = Literal["largest", "left", "right", "index", "reference", "all"]
IdentityMethod: TypeAlias = Literal["instantid", "pulid", "ip_adapter"]


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA to put on for one task: its name and strength, and the SHA-256 of its file once the registry has found it.

    Without a hash it is one that ships with the model.
    """

    name: str
    strength: float = 1.0
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What all tasks share."""

    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToImage(Task):
    """A prompt to one picture.

    guidance: what the model's pipeline calls its guidance scale (Flux: the embedded one; SDXL: classifier-free guidance).
    true_cfg: classifier-free guidance where the model has both kinds; above 1 each step runs the model a second time.
    checkpoint: another checkpoint of the family by name; None for the model's own.
    sampler, scheduler: names of the sampling method and of its noise schedule; None for those of the checkpoint.
    """

    prompt: str
    negative_prompt: str | None = None
    width: int
    height: int
    steps: int
    guidance: float
    loras: tuple[LoraUse, ...] = ()
    true_cfg: float = 1.0
    checkpoint: str | None = None
    sampler: str | None = None
    scheduler: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceToImage(TextToImage):
    """A prompt to one picture that shows the person of `face`, a picture with a face in it.

    method: the identity module that carries the face into the model.
    strength: weight of the face, 0 for none, 1 for full.
    controlnet_strength: InstantID only, how closely the picture follows the position of the face in `face`.
    start, end: share of the steps, 0..1, at which PuLID and InstantID's ControlNet set in and let go.
    """

    face: Image
    method: IdentityMethod
    strength: float = 0.8
    controlnet_strength: float = 0.8
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EditImage(TextToImage):
    """An instruction and one to three pictures to one picture of `width` × `height`; the first picture is the one that is changed."""

    images: tuple[Image, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InpaintImage(EditImage):
    """An edit of a part: pixels of the first picture outside the mask come back as they are, so its size is the result's.

    mask: uint8 (H, W) of any size, stretched to the picture; 128 and above is changed.
    feather: pixels over which the change fades in, inside the mask.
    """

    mask: NDArray[np.uint8]
    feather: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToVideo(Task):
    """A prompt to a clip of `num_frames` (4k+1) frames made at `fps`; sides are multiples of 16.

    seconds, shown_fps: show exactly this much of the clip, with frames interpolated to this rate; None for the frames as they are made.
    quality_gate: raise PoorQuality for a clip with a fault; otherwise the facts only say it.
    preview: give the first frame to the progress stream.
    """

    prompt: str
    negative_prompt: str | None = None
    width: int
    height: int
    num_frames: int
    fps: float
    steps: int
    guidance: float
    loras: tuple[LoraUse, ...] = ()
    seconds: float | None = None
    shown_fps: float | None = None
    quality_gate: bool = False
    preview: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageToVideo(TextToVideo):
    """A picture set in motion: the clip's first frame is `image`, fitted to the clip's size by `fit`."""

    image: Image
    fit: Fit = "cover"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceToVideo(TextToVideo):
    """A prompt to a clip of the people and things in `references`.

    references: pictures, and frames of reference clips; at most one for each four frames of the clip.
    strength: weight of the references, 0 for none, 1 for full.
    """

    references: tuple[Image, ...]
    strength: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceChoice:
    """Which people of a target get a face; whoever is chosen keeps it over cuts, told by their own face.

    by: "largest", "left" or "right" of the first frame that shows a face; "index" counts its faces from the left, beginning with 0;
        "reference" is the person in `reference`; "all" is everybody whom no other choice names.
    """

    by: FaceRule = "largest"
    index: int = 0
    reference: Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFace:
    """A face to put on somebody. persona: name of the registered platform persona that the caller says it is."""

    image: Image
    face: FaceChoice = FaceChoice()
    persona: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceMask:
    """Which part of a painted face is laid over the target; each restriction leaves more of the target.

    oval: inside the oval of the face only, for an engine that paints a square.
    occlusion: not over what hides the face: hands, hair, the rims of glasses.
    blur: width of a soft edge inward from the sides of the face, as a share of half the face, 0..1.
    padding: how far the top, right, bottom and left are drawn in, as shares of the face, 0..0.9.
    """

    oval: bool = False
    occlusion: bool = False
    blur: float = 0.0
    padding: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapFaces(Task):
    """Put the face of `source` on the chosen people of each target frame.

    source: picture with the face to use; its largest face counts. face: who gets it. others: more sources, each for somebody else.
    persona: name of the registered platform persona that the caller says `source` is.
    target: the encoded picture or clip to change; None when the frames come from the run before it in a chain.
    fps: resample the target to this rate; None keeps its own frame times. Animated WebP keeps every frame and plays at `fps`.
    mask: which part of the painted face is used.
    boost: for an engine that paints at a fixed size, 2 or 4 times finer, at 4 or 16 times the work; 1 as it is.
    restore: run the face restorer on the swapped face. None: when one is installed, and the facts say which; True: needed, WeightsMissing
        without one; False: never. restore_visibility: 0..1, how much of the restored face is blended in.
    require_face: a target without any face is an error instead of passing through unchanged.
    """

    source: Image
    face: FaceChoice = FaceChoice()
    others: tuple[SourceFace, ...] = ()
    persona: str | None = None
    target: bytes | None = None
    fps: float | None = None
    mask: FaceMask = FaceMask()
    boost: int = 1
    restore: bool | None = None
    restore_visibility: float = 1.0
    require_face: bool = False
    seed: int = 0

    @property
    def sources(self) -> tuple[SourceFace, ...]:
        """All faces to put on, each with the choice of who gets it."""
        return (SourceFace(image=self.source, face=self.face, persona=self.persona), *self.others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscale(Task):
    """Restore a picture, or the frames of the run before it in a chain, at another size.

    image: the picture; None when frames come from another model.
    resolution: pixels of the result's short side; max_resolution: most pixels of its long side, which wins over the short one.
    colour: how the colours of the input are kept: its low frequencies (wavelet), those and its spread of hues (lab), or not.
    """

    image: Image | None = None
    resolution: int = 1080
    max_resolution: int = 4000
    colour: Literal["wavelet", "lab", "none"] = "wavelet"
