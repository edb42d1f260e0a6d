"""Trains text to video: two planners of different seeds and a painter, each its own process on one GPU, while this one samples and judges.

Its autoencoder is the one trained in its folder or, where there is none, the shipped one. Leaves there, every minute or two and at the end:
`canvas.pt`, the weights; `canvas.jsonl`, losses of all three and what the judge saw; `canvas.jpg`, the last samples.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from models.torchvision_ops import declare
from tools.tiny_weights import canvas, canvas_sampling, latents, networks
from tools.tiny_weights.course import Setting, restore
from tools.tiny_weights.words import Reader

VAE = Path("models/tiny/weights/wan_ti2v/vae")
COURSES = {"first": "canvas_planner", "second": "canvas_planner", "painter": "canvas_painter"}  # folder and course
LAST_LOOK = 45.0  # seconds for the last judgement
EVERY = 90.0  # seconds between judgements
FEW, MANY = 8, 24  # prompts of a judgement on the way, and of the last if there is time


def autoencoder(trained: Path, device: torch.device) -> Any:
    """The one that the joint training left in `trained`, or the shipped one; in single precision."""
    declare()
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    fresh = (trained / "joint.0.pt").exists()
    vae = restore(networks.autoencoder(), trained, "joint", "vae") if fresh else AutoencoderKLWan.from_pretrained(VAE)
    return vae.float().eval().requires_grad_(False).to(device)


def basis(vae: Any, device: torch.device) -> latents.Basis:
    """The basis of the latents, from how the autoencoder encodes canvases and smooth noise."""
    generator = torch.Generator().manual_seed(0)
    code = torch.zeros(24, canvas.CODE_LENGTH)
    for row in range(24):
        code[row, torch.randint(0, 12, (1,), generator=generator)] = 1
        code[row, 12 + torch.randint(0, 12, (1,), generator=generator)] = 1
        code[row, 24 + row % 4] = 1
    draw = canvas.Draw.of(2 * torch.rand(24, 5, generator=generator) - 1, 192, 320)
    shapes = canvas.paint(canvas.Scene.of(code, draw), (192, 320, 1))[0][:, :, 0]
    fine = torch.randn(24, 3, 192, 320, generator=generator)
    clouds = sum(
        torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(fine, size), (192, 320), mode="bilinear") * size**0.8
        for size in (1, 2, 4, 8, 16, 32)
    )
    clouds = 0.35 * clouds / clouds.std() + 0.3 * torch.randn(24, 1, 1, 1, generator=generator)  # pyright: ignore
    pictures = torch.cat((shapes, clouds, shapes + clouds)).clamp(-1, 1).to(device)
    return latents.Basis.found_in(vae, pictures)


@dataclass(slots=True)
class Judge:
    """Samples with the newest weights and counts what it sees."""

    work: Path
    setting: Setting
    vae: Any
    reader: Reader
    began: float
    slow: bool = False

    @property
    def small(self) -> bool:
        """Whether this is a trial on a small machine."""
        return self.setting.share < 0.2

    def look(self, count: int) -> list[dict[str, Any]]:
        """One line for each planner, and the sheet."""
        size, count, steps = ((96, 160, 3), 2, 4) if self.small else ((480, 832, 9), count, 30)
        wishes = canvas_sampling.prompts(count)
        painter = self._network(networks.canvas_painter(), "painter", "painter")
        lines: list[dict[str, Any]] = []
        columns: list[np.ndarray] = []
        for folder in ("first", "second"):
            planner = self._network(networks.canvas_planner(), folder, "planner")
            shown = np.concatenate([self._clips((planner, painter), wishes[at : at + 8], size, steps, at) for at in range(0, count, 8)])
            hits = [canvas_sampling.watch(clip).hits(wish) for clip, wish in zip(shown, wishes, strict=True)]
            shares = {
                name: round(float(np.mean([hit[name] for hit in hits if name in hit] or [0.0])), 3) for name in canvas_sampling.JUDGED
            }
            whole = round(float(np.mean([all(hit.values()) for hit in hits])), 3)
            lines.append({"course": "judge", "planner": folder, "second": round(time.monotonic() - self.began, 1), **shares, "all": whole})
            print(lines[-1], flush=True)
            columns.append(np.concatenate([np.concatenate(clip, axis=1)[::4, ::4] for clip in shown]))
        Image.fromarray(np.concatenate(columns, axis=1)).save(self.setting.out / "canvas.jpg", quality=85)
        return lines

    def _network(self, network: Any, folder: str, key: str) -> Any:
        return restore(network, self.work / folder, COURSES[folder], key).to(self.setting.device).eval()

    def _clips(self, experts: tuple[Any, Any], wishes: list[canvas.Wish], size: tuple[int, int, int], steps: int, seed: int) -> np.ndarray:
        codes = canvas_sampling.sample(experts, self.reader, [wish.text for wish in wishes], size, seed=seed, steps=steps, guidance=6.0)
        return canvas_sampling.show(self.vae, codes)


def gather(work: Path, out: Path, judged: list[dict[str, Any]]) -> None:
    """Write weights and logs of all courses to one file each."""
    lines = [json.dumps(line) for line in judged]
    state: dict[str, torch.Tensor] = {}
    for folder, course in COURSES.items():
        log = work / folder / f"{course}.jsonl"
        lines += [json.dumps({**json.loads(line), "course": folder}) for line in log.read_text().splitlines() if line.endswith("}")]
        for path in sorted((work / folder).glob(f"{course}.[0-9].pt")):
            state |= {f"{folder}/{name}": value for name, value in torch.load(path, map_location="cpu", weights_only=True).items()}
    (out / "canvas.jsonl").write_text("\n".join(lines) + "\n")
    torch.save(state, out / "canvas.pt")


def train(setting: Setting) -> None:
    """Train for the setting's seconds, all told. A failed course is reported at the end; the others go on."""
    began = time.monotonic()
    declare()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        vae = autoencoder(setting.start, setting.device)
        found = basis(vae, setting.device)
        running: dict[str, subprocess.Popen[bytes]] = {}
        left = setting.seconds - (time.monotonic() - began) - LAST_LOOK * min(1.0, setting.seconds / 300) - 20
        for number, (folder, course) in enumerate(COURSES.items()):
            (work / folder).mkdir()
            found.save(work / folder)
            command = [sys.executable, "-m", "tools.tiny_weights", course, "--out", str(work / folder), "--seconds", str(max(left, 1.0))]
            command += ["--share", str(setting.share), "--seed", str(10 * number), *(["--compiled"] if setting.compiled else [])]
            running[folder] = subprocess.Popen(command)
        judge = Judge(work, setting, vae, Reader(setting.device), began)
        judged: list[dict[str, Any]] = []
        looked = time.monotonic()
        while any(process.poll() is None for process in running.values()):
            time.sleep(1.0)
            saved = all((work / folder / f"{course}.0.pt").exists() for folder, course in COURSES.items())
            if saved and time.monotonic() - looked > EVERY:
                looked = time.monotonic()
                judged += judge.look(FEW)
                gather(work, setting.out, judged)
                judge.slow = time.monotonic() - looked > LAST_LOOK * FEW / MANY
        gather(work, setting.out, judged)
        judged += judge.look(FEW if judge.slow else MANY)
        gather(work, setting.out, judged)
        failed = [folder for folder, process in running.items() if process.returncode != 0]
        if failed:
            raise SystemExit(f"failed: {failed}")
