"""What text to video's weights can do: random prompts through the product's own runner, judged by plain measures.

`python -m tools.tiny_weights.evaluate_canvas --out <folder>`.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.runner import Call
from models.task import TextToVideo
from models.tiny import build
from models.wan import WanTextToVideo
from models.weights import Loading
from tools.tiny_weights import canvas, canvas_plan, canvas_sampling, latents
from tools.tiny_weights.canvas import Wish

REPO = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"


def main() -> None:
    """Make the clips, print the table, write `sheet.png` and `results.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=24, help="prompts")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=6.0)
    parser.add_argument("--width", type=int, default=832)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--frames", type=int, default=33)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    results: list[dict[str, Any]] = []
    rows: list[NDArray[np.uint8]] = []
    with tempfile.TemporaryDirectory() as folder:
        build(REPO, Path(folder))
        runner = WanTextToVideo(Loading({"base": Path(folder)}))
    for seed, wish in enumerate(canvas_sampling.prompts(given.count, seed=7)):
        result = attempt(runner, wish, task(wish.text, seed, given))
        frames = result.pop("frames")
        rows.append(np.concatenate(frames[[0, len(frames) // 2, -1]], axis=1)[::4, ::4])
        results.append(result)
        print(result, flush=True)
        Image.fromarray(np.concatenate(rows)).save(given.out / "sheet.png")
        (given.out / "results.json").write_text(json.dumps(results))
    report(results)


def task(prompt: str, seed: int, given: argparse.Namespace) -> TextToVideo:
    """A clip as the command line wants it."""
    return TextToVideo(
        seed=seed,
        prompt=prompt,
        width=given.width,
        height=given.height,
        num_frames=given.frames,
        fps=16,
        steps=given.steps,
        guidance=given.guidance,
    )


def attempt(runner: WanTextToVideo, wish: Wish, asked: TextToVideo) -> dict[str, Any]:
    """One clip, with its measures and its frames."""
    call, began = Call(), time.perf_counter()
    frames = np.concatenate([part.pixels for part in runner.run(asked, call)])
    seconds = time.perf_counter() - began
    return {
        "frames": frames,
        "prompt": wish.text,
        "seconds": round(seconds, 1),
        "stages": {stage: round(spent, 2) for stage, spent in call.seconds.items()},
        "overlap": round(overlap(frames, wish, asked), 3),
        **canvas_sampling.watch(frames).hits(wish),
    }


def overlap(frames: NDArray[np.uint8], wish: Wish, asked: TextToVideo) -> float:
    """How well the figure fills the outline that the noise draws for it: intersection over union, 0..1, over every fourth frame."""
    size = (asked.height, asked.width, (asked.num_frames - 1) // 4 + 1)
    shape = (1, latents.CHANNELS, size[2], size[0] // latents.CELL, size[1] // latents.CELL)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(asked.seed))
    draw = canvas.Draw.of(canvas_plan.drawn(noise), *size[:2])
    wanted = canvas.cover(canvas.Scene.of(torch.tensor([wish.code()]), draw), size, 1)[0].numpy() > 0.5
    made = canvas_sampling.figure(frames)[1][::4]
    return float((made & wanted).sum() / max(1, (made | wanted).sum()))


def report(results: list[dict[str, Any]]) -> None:
    """Print the lines the weights are judged by."""
    for name in canvas_sampling.JUDGED:
        hits = [result[name] for result in results if name in result]
        print(f"{name} as asked in {sum(hits)} of {len(hits)} clips")
    print(f"overlap with the outline: mean {np.mean([result['overlap'] for result in results]):.2f}")
    print(f"seconds a clip: median {np.median([result['seconds'] for result in results]):.1f}")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


if __name__ == "__main__":
    main()
