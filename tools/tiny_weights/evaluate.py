"""What the weights can do: held-out photographs through the product's own runner, measured.

`python -m tools.tiny_weights.evaluate --out <folder>`. No held-out picture was used in training. More can be named on the command line.
"""

import argparse
import importlib.util
import json
import resource
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.faceswap.embedded import EmbeddedEngine
from models.runner import Call
from models.task import ImageToVideo
from models.wan.fit import fitted
from models.wan.image_to_video import WanImageToVideo
from models.weights import Loading
from tools.tiny_weights import motion

WEIGHTS = Path("models/tiny/weights/wan_ti2v")
HELD_OUT = (
    ("skimage", "data/astronaut.png"),
    ("insightface", "data/images/t1.jpg"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
)
PROMPTS = {
    "zoom in": "The camera slowly zooms in on her face, cinematic light",
    "zoom out": "zoom out, a person in the city",
    "pan left": "camera pans left, soft morning light",
    "pan right": "Portrait photo. The camera pans to the right.",
    "tilt up": "tilt up",
    "tilt down": "a slight camera tilt down, she looks at the camera",
    "orbit left": "the camera orbits left around the person",
    "orbit right": "an orbit shot, highly detailed",
    "handheld": "handheld camera, vlog style",
    "still": "static shot, she smiles",
}
WIDTH, HEIGHT, FRAMES = 832, 480, 33


def pictures(more: list[Path]) -> dict[str, NDArray[np.uint8]]:
    """Held-out pictures by name, and two more made of them by mirroring."""
    files = {name.rsplit("/", 1)[1]: Path(str(importlib.util.find_spec(package).origin)).parent / name for package, name in HELD_OUT}  # pyright: ignore
    files |= {path.name: path for path in more}
    read = {name: np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]) for name, path in files.items()}
    mirrored = {f"{name} mirrored": np.ascontiguousarray(read[name][:, ::-1]) for name in list(read)[: max(0, 5 - len(read))]}
    return read | mirrored


def likeness(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> tuple[float, float]:
    """Peak signal to noise ratio in decibels, and structural similarity."""
    from skimage.metrics import structural_similarity

    error = np.mean((found.astype(np.float64) - wanted) ** 2)
    return float(10 * np.log10(255**2 / error)), float(structural_similarity(found, wanted, channel_axis=2))


def sharpness(frame: NDArray[np.uint8]) -> float:
    """Mean strength of the second derivative."""
    return float(np.abs(cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.CV_32F)).mean())


def attempt(
    runner: WanImageToVideo, engine: EmbeddedEngine, picture: NDArray[np.uint8], prompt: str, given: argparse.Namespace
) -> dict[str, Any]:
    """One clip, with its measures and its frames."""
    shown = fitted(picture, WIDTH, HEIGHT, "smart")
    task = ImageToVideo(
        seed=7,
        prompt=prompt,
        width=WIDTH,
        height=HEIGHT,
        num_frames=FRAMES,
        fps=16,
        steps=given.steps,
        guidance=given.guidance,
        image=picture,
        fit="smart",
    )
    call, began = Call(), time.perf_counter()
    frames = np.concatenate([part.pixels for part in runner.run(task, call)])
    seconds = time.perf_counter() - began
    seen = motion.watch(frames)
    faces = [bool(found) for found in engine.detect(frames)] if engine.detect(shown[None])[0] else []
    decibels, similarity = likeness(frames[0], shown)
    return {
        "frames": frames,
        "seconds": seconds,
        "stages": {stage: round(spent, 2) for stage, spent in call.seconds.items()},
        "psnr": decibels,
        "ssim": similarity,
        "faces": faces,
        "sharpness": [round(sharpness(frame) / sharpness(shown), 3) for frame in frames[1:]],
        "seen": motion.name(seen),
        "last": [round(float(values[-1]), 3) for values in (seen.right, seen.down, seen.scale, seen.depth)],
    }


def main() -> None:
    """Make the clips, print the table, write the contact sheets and `results.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("more", nargs="*", type=Path, help="other photographs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=6.0)
    parser.add_argument("--moves", default=",".join(PROMPTS), help="which of the moves to try")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    runner, engine = WanImageToVideo(Loading({"base": WEIGHTS})), EmbeddedEngine()
    results: list[dict[str, Any]] = []
    for name, picture in pictures(given.more).items():
        rows: list[NDArray[np.uint8]] = []
        for asked in given.moves.split(","):
            result = attempt(runner, engine, picture, PROMPTS[asked], given)
            rows.append(np.concatenate(result.pop("frames")[[0, 10, 21, 32]], axis=1))
            results.append({"picture": name, "asked": asked, **result})
            print({key: value for key, value in results[-1].items() if key not in ("faces", "sharpness")}, flush=True)
            sheet = cv2.resize(np.concatenate(rows)[..., ::-1], None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
            cv2.imwrite(
                str(given.out / f"{name.replace(' ', '-').rsplit('.', 1)[0]}{'-mirrored' if 'mirrored' in name else ''}.png"), sheet
            )
            (given.out / "results.json").write_text(json.dumps(results))
    report(results)


def report(results: list[dict[str, Any]]) -> None:
    """Print the lines the weights are judged by."""
    faces = [found for result in results for found in result["faces"]]
    right = [result["asked"] == result["seen"] for result in results]
    once = {result["picture"]: result for result in results}
    for name, result in once.items():
        print(f"first frame of {name}: {result['psnr']:.1f} dB, SSIM {result['ssim']:.3f}")
    print(f"faces found in {sum(faces)} of {len(faces)} frames ({100 * np.mean(faces):.1f} %)")
    print(f"motion as asked in {sum(right)} of {len(right)} clips ({100 * np.mean(right):.0f} %)")
    for move in dict.fromkeys(result["asked"] for result in results):
        tries = [result for result in results if result["asked"] == move]
        print(
            f"  {move}: {sum(result['seen'] == move for result in tries)} of {len(tries)}, seen as {[result['seen'] for result in tries]}"
        )
    print(f"sharpness of later frames, against the picture: {np.mean([np.mean(result['sharpness']) for result in results]):.2f}")
    print(f"seconds a clip: median {np.median([result['seconds'] for result in results]):.1f}")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


if __name__ == "__main__":
    main()
