"""Wan 2.1 text to video, 1.3B: what RYLA's present "Wan 2.6" endpoints really run."""

from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Endpoint, Plan, Stage
from deployments.spec.lora import RequiredLora, lora_uses
from deployments.spec.video import VideoRequest, video_plan
from models.task import TextToVideo
from models.wan import WanTextToVideo
from models.weights import Checkpoint

WAN_T2V = Deployment(
    name="wan-t2v",
    model="Wan2.1-T2V-1.3B",
    summary="Text to video, 480p.",
    runner=WanTextToVideo,
    weights={"base": Checkpoint(repo="Wan-AI/Wan2.1-T2V-1.3B-Diffusers", revision=None, licence="apache-2.0")},
    gpu=Gpu(vram_gb=24, share={"L40S": 0.5, "A100-80GB": 0.3}),
    replicas=Replicas(min=1, max=4, target_wait_s=60, longest_s=900),
    lora_slots=4,
    seconds_per_unit=30,
    burst=Burst(gpu="L40S", cold_start_s=25),
)


class VideoLoraRequest(RequiredLora, VideoRequest):
    """A prompt with LoRAs."""


def _plan(request: VideoRequest, seed: int) -> Plan:
    return video_plan(request, Stage(WAN_T2V.name, TextToVideo(seed=seed, **request.video_fields())))


def _lora_plan(request: VideoLoraRequest, seed: int) -> Plan:
    fields = request.video_fields()
    fields["prompt"] = request.triggered(request.prompt)
    return video_plan(request, Stage(WAN_T2V.name, TextToVideo(seed=seed, loras=lora_uses(request), **fields)))


def _lora_endpoint(path: str, summary: str) -> Endpoint:
    return Endpoint(
        path=path,
        summary=summary,
        deployments=(WAN_T2V.name,),
        request=VideoLoraRequest,
        plan=_lora_plan,
        input_type="text",
        output_type="video",
        capabilities=("text-to-video", "lora"),
        lora=True,
        note="Takes LoRAs of Wan 2.1 T2V 1.3B; those of the 14B model do not fit and are refused when they are uploaded.",
        example={"prompt": "a woman walks through a market, hand-held camera", "lora_name": "my-character"},
    )


DEPLOYMENTS = (WAN_T2V,)
ENDPOINTS = (
    Endpoint(
        path="/wan2.6",
        summary="A clip from a prompt.",
        deployments=(WAN_T2V.name,),
        request=VideoRequest,
        plan=_plan,
        input_type="text",
        output_type="video",
        capabilities=("text-to-video",),
        note="The published name says 2.6; the weights are, and always were, Wan 2.1 T2V 1.3B, and `X-Model` says so.",
        example={"prompt": "a lighthouse in a storm, waves, cinematic"},
    ),
    _lora_endpoint("/wan2.6-lora", "A clip from a prompt with one or more LoRAs."),
    _lora_endpoint("/wan2-lora", "The same as /wan2.6-lora, under the name older callers use."),
)
