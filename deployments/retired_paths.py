"""Paths that are gone, each with its reason and what to call instead."""

from pydantic import Field

from deployments.spec.endpoint import Endpoint, Plan, Retired, Stage
from deployments.spec.fields import Seed
from deployments.spec.video import VideoRequest, video_plan
from deployments.wan_t2v import WAN_T2V
from models.task import TextToVideo


class Wan2Request(VideoRequest):
    """A prompt for the clip endpoint that came before /wan2.6."""

    seed: Seed = 839327983272663
    quality: int = Field(default=90, ge=1, le=100, description="Of the animated WebP.")


def _wan2_plan(request: Wan2Request, seed: int) -> Plan:
    return video_plan(request, Stage(WAN_T2V.name, TextToVideo(seed=seed, **request.video_fields())), quality=request.quality)


RETIRED = (
    Retired(
        path="/wan2",
        reason="it was the same model as /wan2.6 under another name",
        replacement="/wan2.6",
        still=Endpoint(
            path="/wan2",
            summary="The same as /wan2.6, for callers that have not moved yet.",
            deployments=(WAN_T2V.name,),
            request=Wan2Request,
            plan=_wan2_plan,
            input_type="text",
            output_type="video",
            capabilities=("text-to-video",),
            note="Retired: /wan2.6 takes its place.",
            example={"prompt": "a lighthouse in a storm, waves, cinematic"},
        ),
    ),
    Retired(path="/flux-instantid", reason="InstantID was made for SDXL and never worked on Flux", replacement="/sdxl-instantid"),
    Retired(path="/z-image-instantid", reason="InstantID was made for SDXL and never worked on Z-Image", replacement="/sdxl-instantid"),
    Retired(path="/z-image-pulid", reason="PuLID was made for Flux and never worked on Z-Image", replacement="/flux-pulid"),
    Retired(path="/z-image-pulid-lora", reason="PuLID was made for Flux and never worked on Z-Image", replacement="/flux-pulid"),
)
