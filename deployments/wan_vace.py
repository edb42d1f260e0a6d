"""Wan 2.1 VACE, 1.3B: the people and things of given pictures and clips in a new clip."""

from typing import Any

from pydantic import AliasChoices, ConfigDict, Field, field_validator, model_validator

from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Endpoint, Plan, Stage
from deployments.spec.fields import Clip, Picture
from deployments.spec.inputs import CLIP_LIMITS, clip, picture
from deployments.spec.video import VideoRequest, video_plan
from models.clip.references import shrunk, stills
from models.errors import TooLarge
from models.task import Image, ReferenceToVideo
from models.wan import WanReferenceToVideo
from models.weights import Checkpoint

WAN_VACE = Deployment(
    name="wan-vace",
    model="Wan2.1-VACE-1.3B",
    summary="Reference to video: shows the people and things of the given pictures.",
    runner=WanReferenceToVideo,
    weights={"base": Checkpoint(repo="Wan-AI/Wan2.1-VACE-1.3B-diffusers", revision=None, licence="apache-2.0")},
    gpu=Gpu(vram_gb=26, share={"L40S": 0.6, "A100-80GB": 0.33}),
    replicas=Replicas(min=1, max=2, target_wait_s=60, longest_s=900),
    seconds_per_unit=45,
    burst=Burst(gpu="L40S", cold_start_s=27),
)

MOST_STILLS = 3  # of one reference clip: each costs as much time as four frames of the result
MOST_SECONDS = 30.0  # of one reference clip, which is decoded before the call is accepted
SEGMENT = 81  # frames that the model makes at once


class ReferenceToVideoRequest(VideoRequest):
    """A prompt, and what it shows."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["reference_videos"]}, {"required": ["reference_images"]}]})

    reference_images: tuple[Picture, ...] = Field(
        default=(),
        max_length=4,
        validation_alias=AliasChoices("reference_images", "reference_image"),
        description="Pictures of the people and things to show, at most 4; best before a plain ground.",
    )
    reference_videos: tuple[Clip, ...] = Field(
        default=(),
        max_length=3,
        validation_alias=AliasChoices("reference_videos", "reference_video"),
        description=f"Clips of them, at most 3 of {MOST_SECONDS:.0f} seconds; up to {MOST_STILLS} stills of each are used, not the motion.",
    )
    reference_strength: float = Field(default=1.0, ge=0, le=2, description="Weight of the references: 0 none, 1 full.")

    @field_validator("reference_images", "reference_videos", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _something_to_refer_to(self) -> "ReferenceToVideoRequest":
        given = len(self.reference_images) + len(self.reference_videos)
        if not given:
            raise ValueError("reference_videos or reference_images is required: 1 to 3 clips, 1 to 4 pictures, or both")
        if given > self.room():
            raise ValueError(f"a clip of {self.made_frames()} frames takes at most {self.room()} references, got {given}")
        return self

    def room(self) -> int:
        """References that the model takes: one for each four frames."""
        return (min(self.made_frames(), SEGMENT) - 1) // 4 + 1


def _references(request: ReferenceToVideoRequest) -> tuple[Image, ...]:
    """Pictures first, then stills of each clip; all clips have as many."""
    side = max(request.size())
    found = [shrunk(picture(text, "reference_images"), side) for text in request.reference_images]
    if request.reference_videos:
        each = min(MOST_STILLS, (request.room() - len(found)) // len(request.reference_videos))
        for text in request.reference_videos:
            found += _stills(text, each, side)
    return tuple(found)


def _stills(text: str, count: int, side: int) -> tuple[Image, ...]:
    data, info = clip(text, "reference_videos")
    seconds = info.seconds or (info.frames or 1) / (info.fps or 24.0)
    if seconds > MOST_SECONDS:
        raise TooLarge(f"reference_videos: a clip of {seconds:.0f} seconds is too long, {MOST_SECONDS:.0f} are allowed; send its best part")
    return stills(data, count, seconds, side, CLIP_LIMITS)


def _plan(request: ReferenceToVideoRequest, seed: int) -> Plan:
    references = _references(request)
    task = ReferenceToVideo(seed=seed, references=references, strength=request.reference_strength, **request.video_fields())
    given = len(request.reference_images) + len(request.reference_videos)
    return video_plan(request, Stage(WAN_VACE.name, task), reference_count=given)


DEPLOYMENTS = (WAN_VACE,)
ENDPOINTS = (
    Endpoint(
        path="/wan2.6-r2v",
        summary="A clip of the people and things in given pictures and clips.",
        deployments=(WAN_VACE.name,),
        request=ReferenceToVideoRequest,
        plan=_plan,
        input_type="text+video",
        output_type="video",
        capabilities=("text-to-video", "image-to-video"),
        note="Runs Wan 2.1 VACE, which is conditioned on the references; the endpoint it replaces ignored them.",
        example={"prompt": "the woman walks along a beach at sunset"},
    ),
)
