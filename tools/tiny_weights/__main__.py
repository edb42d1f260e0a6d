"""`python -m tools.tiny_weights all --out <folder>` trains everything on one GPU; `export` then writes the checkpoints.

`canvas` alone trains text to video for the shipped autoencoder, and needs no pictures.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from tools.tiny_weights import (
    export,
    train_canvas,
    train_canvas_painter,
    train_canvas_planner,
    train_joint,
    train_planner,
    train_renderer,
    train_vae,
)
from tools.tiny_weights.course import Setting
from tools.tiny_weights.latents import Basis
from tools.tiny_weights.scenes import SIDE, stock

COURSES = {
    "vae": train_vae.train,
    "renderer": train_renderer.train,
    "joint": train_joint.train,
    "planner": train_planner.train,
    "canvas": train_canvas.train,
    "canvas_planner": train_canvas_planner.train,
    "canvas_painter": train_canvas_painter.train,
}
PICTURELESS = ("canvas", "canvas_planner", "canvas_painter")  # courses that need no stock of pictures
# Trainings that run at once, each its own process on the same GPU, and their seconds on an H200.
STAGES = ({"vae": 500, "renderer": 700}, {"joint": 400, "planner": 300}, {"canvas": 500})
PICTURES = 640


def make_stock(out: Path, device: torch.device) -> None:
    """Write `stock.pt` and `basis.pt` into `out`, unless they are there."""
    if (out / "stock.pt").exists() and (out / "basis.pt").exists():
        return
    pictures = stock(PICTURES, SIDE, 1, device)
    torch.save(pictures, out / "stock.pt")
    real = torch.arange(len(pictures)) % 32 < 20  # all the photographs, a quarter of the rest
    Basis.fit(pictures[real][:160].to(device).float() / 127.5 - 1).save(out)


def train_all(out: Path, longer: float) -> None:
    """Every stage after the other. `longer` stretches the seconds, for a slower GPU."""
    for stage in STAGES:
        base = [sys.executable, "-m", "tools.tiny_weights"]
        running = [
            subprocess.Popen([*base, name, "--out", str(out), "--seconds", str(seconds * longer), "--compiled"])
            for name, seconds in stage.items()
        ]
        failed = [process.args for process in running if process.wait() != 0]
        if failed:
            raise SystemExit(f"failed: {failed}")


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["all", *COURSES, "export"])
    parser.add_argument("--out", type=Path, required=True, help="folder of pictures, weights and logs; trainings go on from what is there")
    parser.add_argument("--into", type=Path, default=Path("models/tiny/weights"), help="where `export` writes")
    parser.add_argument("--seconds", type=float, default=500, help="length of one training")
    parser.add_argument("--longer", type=float, default=1.0, help="stretches all of them")
    parser.add_argument("--share", type=float, default=1.0, help="of the clips a step, for a smaller GPU")
    parser.add_argument("--seed", type=int, default=0, help="another run of the same canvas course")
    parser.add_argument("--compiled", action="store_true", help="compile the networks' blocks: slow to start, then faster")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    given.out.mkdir(parents=True, exist_ok=True)
    if given.what == "export":
        export.everything(given.out, given.into)
        return
    if given.what not in PICTURELESS:
        make_stock(given.out, device)
    if given.what == "all":
        train_all(given.out, given.longer)
    else:
        setting = Setting(
            given.out, given.out, given.out / "stock.pt", device, given.seconds, 10**9, given.share, given.compiled, given.seed
        )
        COURSES[given.what](setting)


if __name__ == "__main__":
    main()
