"""The request shape that all video-making endpoints share, and the plan of a clip."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field, model_validator

from deployments.spec.endpoint import Plan, Stage
from deployments.spec.fields import Fps, FrameCount, Guidance, NegativePrompt, Prompt, Seed, Side, Steps, VideoFormat, whole_frames
from deployments.spec.request import Request
from models.media import Encoding
from models.runner import Fact
from models.task import Upscale

UNIT_PIXEL_STEPS = 832 * 480 * 33 * 30  # the published default job is one unit of work
UPSCALER = "seedvr2"  # the deployment that restores finished frames; its unit of work is a megapixel
UPSCALER_UNIT_PIXELS = 1024 * 1024
MOST_AT_ONCE = 161  # longer clips are made in segments, so memory grows no further

VideoAspect = Literal["9:16", "1:1", "16:9"]
SIZES: dict[VideoAspect, tuple[int, int]] = {"16:9": (832, 480), "9:16": (480, 832), "1:1": (640, 640)}
Seconds = Annotated[int, Field(ge=2, le=8, multiple_of=2)]

LENGTH_ALIASES = AliasChoices("length", "num_frames")
STEPS_ALIASES = AliasChoices("steps", "num_inference_steps")
CFG_ALIASES = AliasChoices("cfg", "guidance_scale")
FORMAT_DESCRIPTION = "Container of the reply: animated WebP as today, or MP4 (H.264, plays anywhere)."


class VideoRequest(Request):
    """What every video endpoint accepts, in the spellings that callers send.

    native_fps: frames a second of the clips that the model was trained on. house_negative: what to avoid when the caller says nothing;
    None for the authors' list.
    """

    native_fps: ClassVar[int] = 16
    house_negative: ClassVar[str | None] = None

    prompt: Prompt
    negative_prompt: NegativePrompt = None
    width: Side = 832
    height: Side = 480
    aspect_ratio: VideoAspect | None = Field(
        default=None, description="Shape of the clip; when given it decides width and height: 480×832, 640×640 or 832×480."
    )
    length: FrameCount = Field(default=33, validation_alias=LENGTH_ALIASES)
    duration_s: Seconds | None = Field(
        default=None,
        description="Seconds of the clip: 2, 4, 6 or 8; wins over length. The model works at its own rate and continues from its last "
        "frames where the clip is longer than it can make at once; frames are then interpolated to fps. Cost grows with the seconds.",
    )
    steps: Steps = Field(default=30, validation_alias=STEPS_ALIASES)
    cfg: Guidance = Field(default=6.0, validation_alias=CFG_ALIASES)
    fps: Fps = Field(
        default=16,
        description="Frames a second. With duration_s (16, 24 or 30 are usual) frames are interpolated to it at no cost in GPU time; "
        "without, the frames that were made play at this rate.",
    )
    seed: Seed = None
    quality_gate: bool = Field(
        default=False,
        description="Answer 502 instead of a clip with blank frames, a flash, a first frame unlike the given picture, or no motion. "
        "`X-Quality` says what was found in any case.",
    )
    upscale: int | None = Field(
        default=None,
        ge=256,
        le=1440,
        description="Pixels of the short side that the finished frames are restored to by SeedVR2, the model of /seedvr2, in one step. "
        "Cost grows with frames and pixels, and is often more than the clip's own. Not given: frames stay as they were made.",
    )
    preview: bool = Field(default=False, description="Send the first frame as a `preview` event of the progress stream.")
    output_format: VideoFormat = Field(default="webp", description=FORMAT_DESCRIPTION)

    @model_validator(mode="after")
    def _fits_one_card(self) -> "VideoRequest":
        width, height = self.size()
        if width * height * min(self.made_frames(), MOST_AT_ONCE) > 1280 * 720 * MOST_AT_ONCE:
            raise ValueError(
                f"width × height × length is too much for one card: at most {MOST_AT_ONCE} frames at 1280×720, "
                f"got {self.made_frames()} at {width}×{height}"
            )
        return self

    def size(self) -> tuple[int, int]:
        """Width and height: those of the aspect ratio when one is given."""
        return (self.width, self.height) if self.aspect_ratio is None else SIZES[self.aspect_ratio]

    def made_frames(self) -> int:
        """Frames that the model makes, 4k+1."""
        return whole_frames(self.length if self.duration_s is None else self.duration_s * self.native_fps + 1)

    def shown_frames(self) -> int:
        """Frames of the reply."""
        return self.made_frames() if self.duration_s is None else round(self.duration_s * self.fps)

    def video_fields(self) -> dict[str, Any]:
        """The fields a video task takes from every request; a negative prompt of "" is not given."""
        width, height = self.size()
        timed = {"fps": float(self.native_fps), "seconds": float(self.duration_s), "shown_fps": self.fps} if self.duration_s else {}
        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt or self.house_negative,
            "width": width,
            "height": height,
            "num_frames": self.made_frames(),
            "fps": self.fps,
            "steps": self.steps,
            "guidance": self.cfg,
            "quality_gate": self.quality_gate,
            "preview": self.preview,
        } | timed

    def units(self) -> float:
        """Work of this request; the published default job is 1.0."""
        width, height = self.size()
        return width * height * self.made_frames() * self.steps / UNIT_PIXEL_STEPS

    def facts(self) -> dict[str, Fact]:
        """What the reply's headers say of the clip."""
        return {"frames": self.shown_frames(), "fps": self.fps, "steps": self.steps}


def video_plan(request: VideoRequest, making: Stage, *after: Stage, quality: int | None = None, **facts: Fact) -> Plan:
    """The plan of a clip: the stage that makes it, those that its frames flow into, and last the upscaler if it is asked for."""
    stages, units = [making, *after], [request.units(), *(float(request.shown_frames()) for _ in after)]
    if request.upscale is not None:
        stages.append(Stage(UPSCALER, Upscale(seed=making.task.seed, resolution=request.upscale)))
        width, height = request.size()
        growth = request.upscale / min(width, height)
        units.append(max(0.1, request.shown_frames() * width * height * growth**2 / UPSCALER_UNIT_PIXELS))
    return Plan(
        stages=tuple(stages),
        encoding=Encoding(format=request.output_format, fps=request.fps, quality=quality),
        units=tuple(units),
        facts=request.facts() | facts,
    )
