"""What face swap adds to image to video on one GPU: the same clip alone and chained into the swap, by turns in one process.

    python -m benchmarks.gpu.chain               # one CUDA card, about 12 GB of disk, under two minutes
    python -m benchmarks.gpu.chain --smoke       # toy networks on the CPU, to see that it runs

Real architectures with random weights: Wan2.2-TI2V-5B as `benchmarks.gpu.wan` builds it, and SCRFD-10G, ArcFace's IResNet-50 and
inswapper_128 behind the service's own swapper. Random weights neither make a face nor find one: the video model does its whole work and
then hands out the frames of a clip with a face, and the detector does its whole work and is then told where that face is. Everything
between is the service's: two runner hosts, frames streamed from one to the other as they are decoded, encoded once, to H.264.

Left out: the hop between two processes, and signing. Prints one JSON object a clip, and a line that sums up.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import skimage.data
import torch

from benchmarks.gpu import wan
from benchmarks.gpu.faceswap_clip import POINTS, Clip, make_clip
from models.faceswap.engine import Face
from models.faceswap.swapper import FaceSwapper
from models.host import Result, RunnerHost
from models.media import Encoding
from models.runner import Call, Frames
from models.task import Image, ImageToVideo, SwapFaces, Task
from models.tiny import build as build_toy
from models.wan import WanImageToVideo
from models.weights import Loading
from tests.models.faceswap import random_weights

MODEL = wan.MODELS["ti2v"]
ENCODING = Encoding(format="mp4")


class ClipPlayerStandIn(WanImageToVideo):
    """Works like the model it stands in for, and shows a clip's frames instead of its own."""

    film: np.ndarray  # (T, H, W, 3)

    def run(self, task: Task, call: Call) -> Iterator[Frames]:
        shown = 0
        for frames in super().run(task, call):
            yield Frames(self.film[shown : shown + len(frames.pixels)].copy(), frames.times_s)
            shown += len(frames.pixels)


class ToldDetector:
    """Looks for faces as the detector it wraps, for the time that takes, and then says where they were told to be."""

    def __init__(self, detector, known: dict[bytes, Face]) -> None:
        self._detector = detector
        self._known = known
        self.detect_every = getattr(detector, "detect_every", 1)

    def detect(self, frames: np.ndarray) -> list[list[Face]]:
        self._detector.detect(frames)
        return [[self._known[mark(frame)]] for frame in frames]

    def detect_portrait(self, image: Image) -> list[Face]:
        self._detector.detect_portrait(image)
        return [self._known[mark(image)]]


def mark(frame: Image) -> bytes:
    """What a frame is known by."""
    return frame[::16, ::16].tobytes()


def face(landmarks: np.ndarray) -> Face:
    middle, reach = landmarks.mean(axis=0), 1.2 * np.ptp(landmarks, axis=0).max()
    return Face(np.concatenate([middle - reach, middle + reach]).astype(np.float32), landmarks.astype(np.float32), 0.9)


def networks(folder: Path, smoke: bool) -> None:
    """The three files of the insightface engine."""
    if smoke:
        random_weights.model_folder(folder)
        return
    folder.mkdir()
    random_weights.scrfd(folder / "det_10g.onnx", score=-9.0)
    random_weights.iresnet50(folder / "w600k_r50.onnx")
    random_weights.inswapper(folder / "inswapper_128.onnx")
    random_weights.pin(folder)


def swapper(folder: Path, device: str, clip: Clip, portrait: Image) -> FaceSwapper:
    """The service's swapper, its detectors told of the clip's faces and the portrait's."""
    made = FaceSwapper(Loading({"insightface": folder}, device))
    known = {mark(frame): face(five) for frame, five in zip(clip.frames, clip.landmarks, strict=True)}
    known[mark(portrait)] = face(POINTS)
    for part in ("_detector", "_portraits"):
        setattr(made.engine, part, ToldDetector(getattr(made.engine, part), known))
    return made


async def timed(video: RunnerHost, swap: RunnerHost, clip: ImageToVideo, portrait: Image | None) -> dict:
    """Seconds of one call from its task to its file, with the seconds by stage; swapped when there is a `portrait`."""
    began = time.perf_counter()
    if portrait is None:
        events = video.produce(clip, ENCODING)
    else:
        task = SwapFaces(source=portrait, seed=clip.seed, require_face=True)
        events = swap.produce(task, ENCODING, upstream=video.frames(clip))
    async with aclosing(events):
        (result,) = [event async for event in events if isinstance(event, Result)]
    seconds = time.perf_counter() - began
    stages = {stage: round(spent, 3) for run in result.stages for stage, spent in run.seconds.items()}
    return {"seconds": round(seconds, 3), "stages": stages, "facts": result.stages[-1].facts}


async def rounds(
    video: RunnerHost, swap: RunnerHost, clip: ImageToVideo, portrait: Image, arguments: argparse.Namespace
) -> dict[str, list[float]]:
    """Seconds of both ways by turns, after a short warm-up: as many rounds as asked for, or fit in the time limit."""
    seconds: dict[str, list[float]] = {"video": [], "video with swap": []}
    for turn in range(arguments.rounds + 1):
        task = replace(clip, steps=min(2, clip.steps)) if turn == 0 else clip
        picture = portrait.copy()
        picture[1, 1] = turn  # a source that the engine has not read yet
        began = time.perf_counter()
        for way, source in (("video", None), ("video with swap", picture)):
            found = await timed(video, swap, task, source)
            wan.report(round=turn or "warm-up", way=way, steps=task.steps, **found)
            if source is not None and found["facts"]["faces_swapped"] != clip.num_frames:
                raise SystemExit(
                    f"a face was swapped in {found['facts']['faces_swapped']} of {clip.num_frames} frames; nothing was measured"
                )
            if turn:
                seconds[way].append(found["seconds"])
        left = arguments.limit_s - (time.perf_counter() - arguments.began)
        if turn and left < time.perf_counter() - began:
            break
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--limit-s", type=float, default=105, help="begin no round that would end later than this after the start")
    parser.add_argument("--compiled", action="store_true", help="compile the transformer's blocks; about a minute more")
    parser.add_argument("--smoke", action="store_true", help="toy networks, on the CPU")
    arguments = parser.parse_args()
    arguments.began = time.perf_counter()
    device = "cpu" if arguments.smoke else "cuda"
    width, height, count, steps = (64, 64, 5, 2) if arguments.smoke else (832, 480, 33, arguments.steps)
    wan.report(device=torch.cuda.get_device_name() if device == "cuda" else "cpu", torch=torch.__version__)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(1) as beside:
        base, faces = Path(name) / "wan", Path(name) / "faces"
        written = beside.submit(networks, faces, arguments.smoke)
        build_toy(MODEL.repo, base) if arguments.smoke else wan.build(base, "ti2v")
        video = ClipPlayerStandIn(Loading({"base": base}, device, compiled=arguments.compiled))
        film, portrait = make_clip(width, height, count), skimage.data.astronaut()
        video.film = film.frames
        written.result()
        swap = swapper(faces, device, film, portrait)
        wan.report(job="build and load", seconds=round(time.perf_counter() - arguments.began, 1))
        clip = MODEL.task(**wan.PROMPT, **MODEL.adds, width=width, height=height, num_frames=count, steps=steps)
        hosts = RunnerHost(video), RunnerHost(swap)
        seconds = asyncio.run(rounds(*hosts, clip, portrait, arguments))
        for host in hosts:
            host.close()
        alone, swapped = (statistics.median(each) for each in seconds.values())
        print(
            f"{width}x{height}, {count} frames, {steps} steps, median of {len(seconds['video'])} rounds: video {alone:.2f} s, "
            f"with swap {swapped:.2f} s, the swap adds {swapped - alone:+.2f} s = {100 * (swapped / alone - 1):+.1f} %"
        )


if __name__ == "__main__":
    main()
