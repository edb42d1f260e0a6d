"""Face swap: on a picture, on a clip, and as the second half of every chain."""

from pydantic import AliasChoices, Field

from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Endpoint, Plan, Stage
from deployments.spec.faces import FaceFields
from deployments.spec.fields import Clip, Fps, ImageFormat, Picture, VideoFormat
from deployments.spec.inputs import clip, still
from models.faceswap.swapper import FaceSwapper
from models.media import Encoding
from models.weights import Checkpoint

FACE_SWAP = Deployment(
    name="face-swap",
    model="face-swap",
    summary="Puts a face on the faces of a picture or a clip.",
    runner=FaceSwapper,
    weights={
        "insightface": Checkpoint(
            repo="deepinsight/insightface", revision=None, licence="insightface-non-commercial", files=("*.onnx",), optional=True
        ),
        # Published as Apache-2.0, but made with NVIDIA's StyleGAN2 and on pictures that are not for commerce: the operator decides.
        "restorer": Checkpoint(
            repo="TencentARC/GFPGANv1", revision=None, licence="unknown", files=("GFPGANv1.4.safetensors",), optional=True
        ),
    },
    gpu=Gpu(vram_gb=6, share={"L40S": 0.25, "A100-80GB": 0.1}),
    replicas=Replicas(min=1, max=4, target_wait_s=15, longest_s=600, kept_on_laptop=True),
    concurrency=4,
    seconds_per_unit=0.02,
    burst=Burst(gpu="L40S", cold_start_s=15),
)


class SwapRequest(FaceFields):
    """What the three face-swap endpoints share. `codeformer_weight` is accepted because callers send it; it never had an effect."""

    reference_image: Picture = Field(
        validation_alias=AliasChoices("reference_image", "face_image"),
        description="The picture with the face to use, as data URL or base64.",
    )
    codeformer_weight: float = Field(default=0.5, ge=0, le=1, description="Accepted and without effect, as it always was.", deprecated=True)


class ImageSwapRequest(SwapRequest):
    """A picture to change."""

    source_image: Picture = Field(description="The picture to change, as data URL or base64.")
    output_format: ImageFormat = Field(default="png", description="Format of the reply.")


class VideoSwapRequest(SwapRequest):
    """A clip to change."""

    source_video: Clip = Field(validation_alias=AliasChoices("source_video", "video"))
    fps: Fps | None = Field(
        default=None,
        description="Resample the clip to this rate. Not given: the clip's own frame times are kept, also when they vary. "
        "Animated WebP and GIF keep every frame and play at this rate.",
    )
    output_format: VideoFormat = Field(default="mp4", description="Container of the reply; MP4 keeps the source's audio.")


def _image_plan(request: ImageSwapRequest, seed: int) -> Plan:
    task = request.swap_task(request.reference_image, "reference_image", seed, target=still(request.source_image, "source_image"))
    return Plan(stages=(Stage(FACE_SWAP.name, task),), encoding=Encoding(format=request.output_format), units=(1.0,))


def _video_plan(request: VideoSwapRequest, seed: int) -> Plan:
    data, info = clip(request.source_video, "source_video")
    audio = data if info.has_audio and request.output_format == "mp4" else None
    task = request.swap_task(request.reference_image, "reference_image", seed, target=data, fps=request.fps)
    frames = info.frames or (info.seconds or 1.0) * (info.fps or 24.0)
    return Plan(
        stages=(Stage(FACE_SWAP.name, task),),
        encoding=Encoding(format=request.output_format, fps=request.fps, audio=audio),
        units=(float(frames),),
        facts={} if request.fps is None else {"fps": request.fps},
    )


DEPLOYMENTS = (FACE_SWAP,)
ENDPOINTS = (
    Endpoint(
        path="/image-faceswap",
        summary="A face put on a picture.",
        deployments=(FACE_SWAP.name,),
        request=ImageSwapRequest,
        plan=_image_plan,
        input_type="image",
        output_type="image",
        capabilities=("face-swap",),
    ),
    Endpoint(
        path="/video-faceswap",
        summary="A face put on a clip; sound, frame times and rotation are kept.",
        deployments=(FACE_SWAP.name,),
        request=VideoSwapRequest,
        plan=_video_plan,
        input_type="image+video",
        output_type="video",
        capabilities=("face-swap", "video-to-video"),
    ),
    Endpoint(
        path="/batch-video-faceswap",
        summary="The same as /video-faceswap, under the name older callers use.",
        deployments=(FACE_SWAP.name,),
        request=VideoSwapRequest,
        plan=_video_plan,
        input_type="image+video",
        output_type="video",
        capabilities=("face-swap", "video-to-video"),
        note="Takes MP4, WebM, MOV, animated WebP and GIF; a still picture passes as one frame.",
    ),
)
