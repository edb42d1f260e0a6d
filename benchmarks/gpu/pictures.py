"""FLUX.1-dev and SDXL with faces, at their real sizes with random weights: seconds to load, seconds a picture, memory of the card.

    python -m benchmarks.gpu.pictures --model flux --model sdxl    # one CUDA card, 35 GB of disk, torch, diffusers, transformers, timm
    python -m benchmarks.gpu.pictures --smoke                      # toy checkpoints on the CPU, to see that it runs

Speed and memory do not depend on the weights' values. Flux's T5 is one layer of the real width: the whole of it would add 9.1 GiB, and
some 0.03 s a picture. Faces are drawn instead of read, so that the numbers are those of the networks. Prints one JSON object a measurement.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.picture_models import FLUX_LATENTS, SDXL_SHAPES, VAE
from models.identity.face_input import FaceFeatures
from models.runner import Call
from models.task import FaceToImage, TextToImage
from models.tiny import faces, flux, sdxl
from models.tiny.clip import clip_text, clip_tokenizer
from models.tiny.text import umt5_tokenizer
from models.torchvision_ops import declare
from models.weights import Loading

PERSON = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
FIVE = np.array([[420, 400], [600, 400], [510, 500], [440, 600], [580, 600]], np.float32)
FLUX_VAE = VAE | FLUX_LATENTS | {"scaling_factor": 0.3611}
CLIP_L = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
}


class DrawnFaces:
    """A reader that reads nothing."""

    name = "drawn"

    def read(self, image):
        drawn = np.random.default_rng(1).standard_normal(512).astype(np.float32)
        return FaceFeatures(drawn, FIVE, np.array([380, 300, 640, 680], np.float32), image[300:700, 300:700])


def save_random(shapes, file, dtype):
    """Tensors of a published file, drawn on the card."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    drawn = {name: torch.randn(shape, device="cuda", dtype=dtype) / max(shape[-1], 1) ** 0.5 for name, shape in shapes.items()}
    save_file({name: tensor.cpu() for name, tensor in drawn.items()}, file)


def build_flux(root):
    """FLUX.1-dev, XLabs' adapter with CLIP-L, PuLID with its tower."""
    import diffusers
    import timm
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, T5Config, T5EncoderModel

    tokens = umt5_tokenizer()
    t5 = T5Config(vocab_size=len(tokens), d_model=4096, d_kv=64, d_ff=10240, num_layers=1, num_heads=64, feed_forward_proj="gated-gelu")
    with torch.device("cuda"):
        pipe = diffusers.FluxPipeline(
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
            transformer=diffusers.FluxTransformer2DModel(guidance_embeds=True).to(torch.bfloat16),
            vae=diffusers.AutoencoderKL(**FLUX_VAE).to(torch.bfloat16),
            text_encoder=clip_text(width=768, layers=12),
            tokenizer=clip_tokenizer(),
            text_encoder_2=T5EncoderModel(t5).to(torch.bfloat16),
            tokenizer_2=tokens,
        )
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP_L)).to(torch.bfloat16)
        tower = timm.create_model("eva02_large_patch14_clip_336", num_classes=768).to(torch.bfloat16)
    pipe.save_pretrained(root / "base", max_shard_size="5GB")
    clip.save_pretrained(root / "clip_vision")
    (root / "eva_clip").mkdir()
    save_file({name: tensor.cpu() for name, tensor in tower.state_dict().items()}, root / "eva_clip" / "model.safetensors")
    pulid = faces.pulid_shapes(width=1024, context=2048, image=3072, seen=1024, inner=2048, places=20)
    save_random(pulid, root / "pulid" / "pulid_flux_v0.9.1.safetensors", torch.bfloat16)
    adapter = faces.xlabs_shapes(tokens=16, width=4096, clip=768, image=3072, blocks=19)
    save_random(adapter, root / "ip_adapter" / "ip_adapter.safetensors", torch.bfloat16)


def build_sdxl(root):
    """SDXL base with both text encoders, and InstantID."""
    import diffusers

    unet = SDXL_SHAPES | {"sample_size": 128, "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")}
    with torch.device("cuda"):
        pipe = diffusers.StableDiffusionXLPipeline(
            unet=diffusers.UNet2DConditionModel(**unet).half(),
            vae=diffusers.AutoencoderKL(**VAE, scaling_factor=0.13025).half(),
            text_encoder=clip_text(width=768, layers=12).half(),
            text_encoder_2=clip_text(width=1280, layers=32, projected=True).half(),
            tokenizer=clip_tokenizer(),
            tokenizer_2=clip_tokenizer(),
            scheduler=diffusers.EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1),
            add_watermarker=False,
        )
        controlnet = diffusers.ControlNetModel(**SDXL_SHAPES, conditioning_embedding_out_channels=(16, 32, 96, 256)).half()
        widths = faces.cross_attention_widths(pipe.unet)
    pipe.save_pretrained(root / "base")
    controlnet.save_pretrained(root / "instantid" / "ControlNetModel")
    save_random(faces.instantid_shapes(1280, 2048, widths), root / "instantid" / "ip-adapter.safetensors", torch.float16)


def build_toys(root, model):
    if model == "flux":
        builders = {"base": flux.build_dev, "ip_adapter": faces.build_xlabs, "clip_vision": faces.build_clip}
        builders |= {"pulid": faces.build_pulid, "eva_clip": faces.build_eva}
    else:
        builders = {"base": sdxl.build_base, "instantid": faces.build_instantid}
    for role, build in builders.items():
        build(root / role)


def jobs(model, side, steps):
    """Name, tasks of one batch."""
    plain = {"prompt": "a lighthouse in a storm", "width": side, "height": side, "steps": steps}
    methods = ("ip_adapter", "pulid") if model == "flux" else ("instantid",)
    plain |= {"guidance": 3.5} if model == "flux" else {"guidance": 7.0, "sampler": "euler", "scheduler": "normal"}
    yield "plain", [TextToImage(seed=1, **plain)]
    yield "plain, batch of 4", [TextToImage(seed=n, **plain) for n in range(4)]
    for method in methods:
        yield method, [FaceToImage(seed=1, **plain, face=PERSON, method=method)]
    yield f"{methods[-1]}, batch of 4", [FaceToImage(seed=n, **plain, face=PERSON, method=methods[-1]) for n in range(4)]


def runner_of(model, root, device):
    from models.flux import Flux
    from models.sdxl import Sdxl

    loading = Loading({folder.name: folder for folder in root.iterdir()}, device)
    return (Flux if model == "flux" else Sdxl)(loading, reader=DrawnFaces())


def measure(runner, tasks, device):
    """First and second run, and the second one's peak."""
    seconds = []
    for _ in range(2):
        calls = [Call() for _ in tasks]
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        runner.run_batch(tasks, calls)
        seconds.append(time.perf_counter() - began)
    peak = {"peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)} if device == "cuda" else {}
    stages = {stage: round(value, 3) for stage, value in calls[0].seconds.items()}
    return {
        "seconds": round(seconds[1], 3),
        "a_picture": round(seconds[1] / len(tasks), 3),
        "first_run": round(seconds[0], 3),
        **stages,
        **peak,
    }


def report(**values):
    print(json.dumps(values), flush=True)


def bench(model, device, arguments):
    with tempfile.TemporaryDirectory() as folder:
        root, began = Path(folder), time.perf_counter()
        if device == "cpu":
            build_toys(root, model)
        else:
            (build_flux if model == "flux" else build_sdxl)(root)
            torch.cuda.empty_cache()
        report(model=model, job="build", seconds=round(time.perf_counter() - began, 1))
        began = time.perf_counter()
        runner = runner_of(model, root, device)
        resident = {"resident_gib": round(torch.cuda.memory_allocated() / 2**30, 2)} if device == "cuda" else {}
        report(model=model, job="load", seconds=round(time.perf_counter() - began, 1), **resident)
        for compiled in (False, True) if arguments.compiled else (False,):
            if compiled:
                denoiser = runner.pipe.transformer if model == "flux" else runner.checkpoints.get(None).unet
                denoiser.compile_repeated_blocks(fullgraph=True)
            for name, tasks in jobs(model, 64 if device == "cpu" else 1024, 2 if device == "cpu" else arguments.steps):
                report(model=model, job=name, compiled=compiled, **measure(runner, tasks, device))
        runner.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=("flux", "sdxl"), help="may be given several times; default: both")
    parser.add_argument("--compiled", action="store_true", help="measure again with the denoiser's blocks compiled")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--smoke", action="store_true", help="toy checkpoints, on the CPU")
    arguments = parser.parse_args()
    declare()
    device = "cpu" if arguments.smoke else "cuda"
    report(device=torch.cuda.get_device_name() if device == "cuda" else "cpu", torch=torch.__version__)
    for model in arguments.model or ["flux", "sdxl"]:
        bench(model, device, arguments)


if __name__ == "__main__":
    main()
