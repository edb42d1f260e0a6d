"""The weights of the `tiny` profile: toy checkpoints in the published layout, built on this machine in seconds."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from models.errors import WeightsMissing
from models.tiny import faces, flux, flux2, loras, qwen_image, sdxl, seedvr2, wan, z_image
from models.weights import Checkpoint

BUILDERS: Mapping[str, Callable[[Path], None]] = {
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": wan.build_t2v,
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": wan.build_ti2v,
    "Wan-AI/Wan2.2-I2V-A14B-Diffusers": wan.build_i2v_a14b,
    "Wan-AI/Wan2.1-VACE-1.3B-diffusers": wan.build_vace,
    "black-forest-labs/FLUX.1-schnell": flux.build_schnell,
    "black-forest-labs/FLUX.1-dev": flux.build_dev,
    "stabilityai/stable-diffusion-xl-base-1.0": sdxl.build_base,
    "stabilityai/sdxl-turbo": sdxl.build_turbo,
    "ByteDance/SDXL-Lightning": sdxl.build_lightning,
    "SG161222/RealVisXL_V4.0": partial(sdxl.build_single_file, name="RealVisXL_V4.0", seed=3),
    "RunDiffusion/Juggernaut-XL-v9": partial(sdxl.build_single_file, name="Juggernaut-XL_v9_RunDiffusionPhoto_v2", seed=4),
    "community/intorealism-xl": partial(sdxl.build_single_file, name="intorealism-xl", seed=5),
    "InstantX/InstantID": faces.build_instantid,
    "XLabs-AI/flux-ip-adapter-v2": faces.build_xlabs,
    "openai/clip-vit-large-patch14": faces.build_clip,
    "guozinan/PuLID": faces.build_pulid,
    "timm/eva02_large_patch14_clip_336.merged2b": faces.build_eva,
    "XLabs-AI/flux-RealismLora": loras.build_realism,
    "Tongyi-MAI/Z-Image-Turbo": z_image.build_turbo,
    "Qwen/Qwen-Image-2512": qwen_image.build_2512,
    "lightx2v/Qwen-Image-2512-Lightning": qwen_image.build_lightning_2512,
    "Qwen/Qwen-Image-Edit-2511": qwen_image.build_edit_2511,
    "lightx2v/Qwen-Image-Edit-2511-Lightning": qwen_image.build_lightning_edit,
    "black-forest-labs/FLUX.2-klein-4B": flux2.build_klein,
    "ByteDance-Seed/SeedVR2-3B": seedvr2.build,
    "ByteDance-Seed/SeedVR2-7B": seedvr2.build_7b,
}


def build(repo: str, into: Path) -> None:
    """Write the toy checkpoint of `repo` into the empty folder `into`. Raises WeightsMissing for a repository without one."""
    if repo not in BUILDERS:
        raise WeightsMissing(f"the tiny profile has no toy checkpoint for {repo!r}; add its builder to models/tiny")
    BUILDERS[repo](into)


class TinyStore:
    """Toy checkpoints under `root`, each built once. Safe with many processes on one node: the first builds, the others wait."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, checkpoint: Checkpoint) -> Path:
        """Folder of the toy checkpoint. Raises WeightsMissing."""
        target = self._root / f"{checkpoint.repo.replace('/', '--')}-{_builders_version()}"
        if target.exists():
            return target
        self._root.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.exists():
                partial = Path(tempfile.mkdtemp(dir=self._root, prefix=".building-"))
                try:
                    build(checkpoint.repo, partial)
                    partial.chmod(0o755)
                    partial.rename(target)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
        return target


@cache
def _builders_version() -> str:
    """Changes with this package's code and weights and with the libraries that write the files."""
    digest = hashlib.sha256(" ".join(version(name) for name in ("torch", "diffusers", "transformers")).encode())
    here = Path(__file__).parent
    for path in sorted(path for path in here.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        digest.update(str(path.relative_to(here)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
