"""Wan 2.2 TI2V, 5B: image to video that starts at the given picture, and the same chained into face swap."""

from pydantic import AliasChoices, Field

from deployments.faceswap import FACE_SWAP
from deployments.spec.deployment import Burst, Deployment, Gpu, Replicas
from deployments.spec.endpoint import Endpoint, Plan, Stage
from deployments.spec.faces import FaceFields
from deployments.spec.fields import FIT_DESCRIPTION, Picture, VideoFormat
from deployments.spec.inputs import picture
from deployments.spec.video import VideoRequest, video_plan
from models.task import Fit, ImageToVideo
from models.wan import WanImageToVideo
from models.weights import Checkpoint

WAN_TI2V = Deployment(
    name="wan-ti2v",
    model="Wan2.2-TI2V-5B",
    summary="Image to video: the first frame is the given picture.",
    runner=WanImageToVideo,
    weights={"base": Checkpoint(repo="Wan-AI/Wan2.2-TI2V-5B-Diffusers", revision=None, licence="apache-2.0")},
    gpu=Gpu(vram_gb=44, share={"L40S": 1.0, "A100-80GB": 0.6}),
    replicas=Replicas(min=1, max=4, target_wait_s=60, longest_s=900, kept_on_laptop=True),
    seconds_per_unit=18,
    burst=Burst(gpu="L40S", cold_start_s=30),
)


class ImageToVideoRequest(VideoRequest):
    """A picture set in motion."""

    native_fps = 24

    reference_image: Picture = Field(validation_alias=AliasChoices("reference_image", "source_image"))
    fit: Fit = Field(default="smart", description=FIT_DESCRIPTION)


class ImageToVideoFaceSwapRequest(FaceFields, ImageToVideoRequest):
    """A picture set in motion, wearing the given face."""

    face_image: Picture = Field(validation_alias=AliasChoices("face_image", "reference_face"))
    output_format: VideoFormat = Field(default="mp4", description="Container of the reply.")


def _image_to_video(request: ImageToVideoRequest, seed: int) -> ImageToVideo:
    return ImageToVideo(seed=seed, image=picture(request.reference_image, "reference_image"), fit=request.fit, **request.video_fields())


def _plan(request: ImageToVideoRequest, seed: int) -> Plan:
    return video_plan(request, Stage(WAN_TI2V.name, _image_to_video(request, seed)))


def _swapped_plan(request: ImageToVideoFaceSwapRequest, seed: int) -> Plan:
    swap = request.swap_task(request.face_image, "face_image", seed)
    return video_plan(request, Stage(WAN_TI2V.name, _image_to_video(request, seed)), Stage(FACE_SWAP.name, swap))


DEPLOYMENTS = (WAN_TI2V,)
ENDPOINTS = (
    Endpoint(
        path="/wan2.6-i2v",
        summary="A picture set in motion.",
        deployments=(WAN_TI2V.name,),
        request=ImageToVideoRequest,
        plan=_plan,
        input_type="text+image",
        output_type="video",
        capabilities=("image-to-video",),
        note="Runs Wan 2.2 TI2V 5B, which is conditioned on the picture; the endpoint it replaces ignored it.",
        example={"prompt": "she turns to the camera and smiles"},
    ),
    Endpoint(
        path="/wan2.6-i2v-faceswap",
        summary="A picture set in motion, wearing the given face: the main job.",
        deployments=(WAN_TI2V.name, FACE_SWAP.name),
        request=ImageToVideoFaceSwapRequest,
        plan=_swapped_plan,
        input_type="text+image",
        output_type="video",
        capabilities=("image-to-video", "face-swap"),
        note="Frames stream from the video model into the face swap as they are decoded, and are encoded once.",
        example={"prompt": "she turns to the camera and smiles"},
    ),
)
