"""Graphs for the legacy ComfyUI pod, by family, with the node classes and file names that it has installed.

`deployments/workflow.py` reads such graphs; a test reads these back and finds the endpoint and the numbers they were made from.
"""

from collections.abc import Sequence
from typing import Any

from deployments.spec.fallback import ApiGraph, ComfyWorkflow
from models.task import FaceToImage, Image, TextToImage

Link = list[Any]  # node id and number of its output


class _Builder:
    def __init__(self) -> None:
        self.nodes: ApiGraph = {}

    def add(self, kind: str, **inputs: Any) -> str:
        name = str(len(self.nodes) + 1)
        self.nodes[name] = {"class_type": kind, "inputs": inputs}
        return name

    def link(self, kind: str, **inputs: Any) -> Link:
        """Add a node, and link to its first output."""
        return [self.add(kind, **inputs), 0]

    def text(self, words: str, clip: Link) -> Link:
        return self.link("CLIPTextEncode", text=words, clip=clip)

    def painted(
        self,
        task: TextToImage,
        model: Link,
        positive: Link,
        negative: Link,
        vae: Link,
        *,
        cfg: float,
        sampler: str = "euler",
        scheduler: str = "simple",
        canvas: str = "EmptySD3LatentImage",
    ) -> ApiGraph:
        """Sample, decode and show; the graph is complete."""
        latent = self.link(canvas, width=task.width, height=task.height, batch_size=1)
        latent = self.link(
            "KSampler",
            seed=task.seed,
            steps=task.steps,
            cfg=cfg,
            sampler_name=task.sampler or sampler,
            scheduler=task.scheduler or scheduler,
            denoise=1.0,
            model=model,
            positive=positive,
            negative=negative,
            latent_image=latent,
        )
        self.add("PreviewImage", images=self.link("VAEDecode", samples=latent, vae=vae))
        return self.nodes


def _z_image(task: TextToImage, _: Sequence[str]) -> ApiGraph:
    build = _Builder()
    model = build.link("UNETLoader", unet_name="z_image_turbo_bf16.safetensors", weight_dtype="default")
    model = build.link("ModelSamplingAuraFlow", model=model, shift=3.0)
    clip = build.link("CLIPLoader", clip_name="qwen_3_4b.safetensors", type="lumina2")
    vae = build.link("VAELoader", vae_name="z-image-turbo-vae.safetensors")
    positive, negative = build.text(task.prompt, clip), build.text(task.negative_prompt or "", clip)
    return build.painted(task, model, positive, negative, vae, cfg=task.guidance + 1)  # the task counts guidance from 0, ComfyUI cfg from 1


def _flux_schnell(task: TextToImage, _: Sequence[str]) -> ApiGraph:
    build = _Builder()
    checkpoint = build.add("CheckpointLoaderSimple", ckpt_name="flux1-schnell-fp8.safetensors")
    clip = [checkpoint, 1]
    positive, negative = build.text(task.prompt, clip), build.text(task.negative_prompt or "", clip)
    return build.painted(task, [checkpoint, 0], positive, negative, [checkpoint, 2], cfg=task.true_cfg)


def _flux_dev(task: TextToImage, pictures: Sequence[str]) -> ApiGraph:
    build = _Builder()
    model = build.link("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default")
    clip = build.link("DualCLIPLoader", clip_name1="t5xxl_fp16.safetensors", clip_name2="clip_l.safetensors", type="flux")
    vae = build.link("VAELoader", vae_name="ae.safetensors")
    if isinstance(task, FaceToImage):
        model = build.link(
            "ApplyPulidFlux",
            model=model,
            pulid_flux=build.link("PulidFluxModelLoader", pulid_file="pulid_flux_v0.9.1.safetensors"),
            eva_clip=build.link("PulidFluxEvaClipLoader"),
            face_analysis=build.link("PulidFluxInsightFaceLoader", provider="CUDA"),
            image=build.link("LoadImage", image=pictures[0]),
            weight=task.strength,
            start_at=task.start,
            end_at=task.end,
        )
    positive = build.link("FluxGuidance", conditioning=build.text(task.prompt, clip), guidance=task.guidance)
    return build.painted(task, model, positive, build.text(task.negative_prompt or "", clip), vae, cfg=task.true_cfg)


def _instantid(task: FaceToImage, pictures: Sequence[str]) -> ApiGraph:
    build = _Builder()
    checkpoint = build.add("CheckpointLoaderSimple", ckpt_name=f"{task.checkpoint or 'sd_xl_base_1.0'}.safetensors")
    clip = [checkpoint, 1]
    adapted = build.add(
        "ApplyInstantIDAdvanced",
        instantid=build.link("InstantIDModelLoader", instantid_file="ip-adapter.bin"),
        insightface=build.link("InstantIDFaceAnalysis", provider="CPU"),
        control_net=build.link("ControlNetLoader", control_net_name="diffusion_pytorch_model.safetensors"),
        image=build.link("LoadImage", image=pictures[0]),
        model=[checkpoint, 0],
        positive=build.text(task.prompt, clip),
        negative=build.text(task.negative_prompt or "", clip),
        ip_weight=task.strength,
        cn_strength=task.controlnet_strength,
        start_at=task.start,
        end_at=task.end,
        noise=0.0,
        combine_embeds="average",
    )
    return build.painted(
        task,
        [adapted, 0],
        [adapted, 1],
        [adapted, 2],
        [checkpoint, 2],
        cfg=task.guidance,
        scheduler="normal",
        canvas="EmptyLatentImage",
    )


def _qwen_image(task: TextToImage, _: Sequence[str]) -> ApiGraph:
    build = _Builder()
    model = build.link("UNETLoader", unet_name="qwen_image_2512_fp8_e4m3fn.safetensors", weight_dtype="default")
    if task.checkpoint == "lightning":
        file = "Qwen-Image-Lightning-4steps-V1.0.safetensors"
        model = build.link("LoraLoaderModelOnly", model=model, lora_name=file, strength_model=1.0)
    model = build.link("ModelSamplingAuraFlow", model=model, shift=3.1)
    clip = build.link("CLIPLoader", clip_name="qwen_2.5_vl_7b_fp8_scaled.safetensors", type="qwen_image")
    vae = build.link("VAELoader", vae_name="qwen_image_vae.safetensors")
    positive, negative = build.text(task.prompt, clip), build.text(task.negative_prompt or "", clip)
    return build.painted(task, model, positive, negative, vae, cfg=task.guidance)


def _face(task: FaceToImage) -> tuple[Image, ...]:
    return (task.face,)


Z_IMAGE = ComfyWorkflow(kind="z-image", graph=_z_image, expected_s=15)
FLUX_SCHNELL = ComfyWorkflow(kind="flux-schnell", graph=_flux_schnell, expected_s=15)
FLUX_DEV = ComfyWorkflow(kind="flux-dev", graph=_flux_dev, expected_s=30)
FLUX_PULID = ComfyWorkflow(kind="flux-pulid", graph=_flux_dev, pictures=_face, expected_s=40)
INSTANTID = ComfyWorkflow(kind="sdxl-instantid", graph=_instantid, pictures=_face, expected_s=30)
QWEN_IMAGE = ComfyWorkflow(kind="qwen-image", graph=_qwen_image, expected_s=60)
