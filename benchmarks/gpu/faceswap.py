"""Face swap on a GPU: swap alone, and from encoded clip to encoded clip, against insightface's own per-frame loop in the same run.

    python -m benchmarks.gpu.faceswap            # on a GPU, two to three minutes
    python -m benchmarks.gpu.faceswap --smoke    # on any machine: narrow networks and a short clip, to see that it runs

Needs torch, onnx, onnxruntime, opencv, scikit-image, insightface and PyAV; fetches nothing. The networks are the published
architectures (inswapper_128 and SCRFD-10G) with random weights: they cost what the real ones cost, and paint noise. Since random
weights find no face, detection runs for its cost and the landmarks are those the clip was made with, for both sides alike.
"""

import argparse
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import torch

from benchmarks.gpu.faceswap_clip import Clip, Encoder, decode, make_clip
from benchmarks.gpu.insightface_loop import InsightfaceLoop
from models.faceswap.arc import yuv
from models.faceswap.arc.align import similarity
from models.faceswap.arc.batching import with_batch
from models.faceswap.arc.inswapper_torch import TorchSwapper, load_torch
from models.faceswap.arc.region import SIZE
from models.faceswap.arc.scrfd_torch import TorchScrfd, load_scrfd
from models.faceswap.arc.tensors import TensorPainter, cut_tensors
from models.faceswap.arc.transfer import download, upload
from models.faceswap.paste import paste
from tests.models.faceswap import random_weights

BATCH = 16


class Ours:
    """The networks and the painter, with frames on the device."""

    def __init__(self, folder: Path, device: str, compiled: bool) -> None:
        path = folder / "inswapper_128.onnx"
        started = time.perf_counter()
        swapper, detector = load_torch(path, with_batch(onnx.load(path)), device, compiled), load_scrfd(folder / "det_10g.onnx", device)
        assert swapper is not None, "inswapper failed its check against onnxruntime"
        assert detector is not None, "SCRFD failed its check against onnxruntime"
        self.swapper: TorchSwapper = swapper
        self.detector: TorchScrfd = detector
        self.load_s = time.perf_counter() - started
        self.painter = TensorPainter(swapper)
        self.device = device
        self.embedding = np.random.default_rng(0).standard_normal(512).astype(np.float32)
        self.latent = self.embedding / np.linalg.norm(self.embedding)
        self.latent_tensor = torch.from_numpy(self.latent).to(device)

    def swap(self, frames: torch.Tensor, landmarks: np.ndarray, detect_every: int = 0) -> None:
        if detect_every:
            self.detector.detect_tensors(frames[::detect_every])
        self.painter.swap(frames, landmarks, self.latent_tensor)

    def swap_planes(self, planes: np.ndarray, landmarks: np.ndarray) -> tuple[torch.Tensor, Any]:
        """yuv420p in and out of host memory; the result is there once the event has come."""
        frames = yuv.to_rgb(upload(planes, self.device))
        self.swap(frames, landmarks, detect_every=1)
        swapped, done = download(yuv.from_rgb(frames)), torch.cuda.Event() if self.device.startswith("cuda") else None
        if done is not None:
            done.record()
        return swapped, done


@dataclass
class Pipeline:
    """Decode, swap and encode, a thread each; `busy` has the seconds that each one worked."""

    ours: Ours
    clip: Clip
    busy: dict[str, float] = field(default_factory=lambda: {"decode": 0.0, "device calls": 0.0, "encode": 0.0})

    def run(self) -> bytes:
        self._decoded: queue.Queue[np.ndarray | None] = queue.Queue(4)
        self._swapped: queue.Queue[tuple[torch.Tensor, Any] | None] = queue.Queue(4)
        self._sink = Encoder(*self.clip.frames.shape[2:0:-1])
        threads = [threading.Thread(target=work) for work in (self._decode, self._encode)]
        for thread in threads:
            thread.start()
        start = 0
        while (planes := self._decoded.get()) is not None:
            landmarks = self.clip.landmarks[start : start + len(planes)]
            self._swapped.put(self._timed("device calls", self.ours.swap_planes, planes, landmarks))
            start += len(planes)
        self._swapped.put(None)
        for thread in threads:
            thread.join()
        return self._timed("encode", self._sink.close)

    def _decode(self) -> None:
        batch: list[np.ndarray] = []
        frames = decode(self.clip.encoded, "yuv420p")
        while (frame := self._timed("decode", next, frames, None)) is not None:
            batch.append(frame)
            if len(batch) == BATCH:
                self._decoded.put(np.stack(batch))
                batch = []
        if batch:
            self._decoded.put(np.stack(batch))
        self._decoded.put(None)

    def _encode(self) -> None:
        while (item := self._swapped.get()) is not None:
            planes, done = item
            if done is not None:
                done.synchronize()
            for frame in planes.numpy():
                self._timed("encode", self._sink.put, av.VideoFrame.from_ndarray(frame, format="yuv420p"))

    def _timed(self, stage: str, work: Callable[..., Any], *given: Any) -> Any:
        start = time.perf_counter()
        result = work(*given)
        self.busy[stage] += time.perf_counter() - start
        return result


def seconds(work: Callable[[], object], repeats: int = 5, times: int = 1) -> float:
    """Median seconds of `work` on the device, after a warm-up; `times` runs in a row count as one."""

    def once() -> float:
        start = time.perf_counter()
        for _ in range(times):
            work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / times

    once()
    return statistics.median(once() for _ in range(repeats))


def row(name: str, frame_s: float, loop_s: float, note: str = "") -> None:
    print(f"| {name} | {1 / frame_s:.1f} | {frame_s * 1e3:.2f} | {loop_s / frame_s:.1f}× | {note} |", flush=True)


def listed(shares: dict[str, float], frames: int) -> str:
    return ", ".join(f"{stage} {spent / frames * 1e3:.2f}" for stage, spent in shares.items())


def measure_loop(loop: InsightfaceLoop, clip: Clip, embedding: np.ndarray, count: int) -> float:
    """Rows of insightface's loop; returns its seconds a frame."""
    frames = [np.ascontiguousarray(frame[..., ::-1]) for frame in clip.frames[:count]]
    given = [(frame, five, embedding) for frame, five in zip(frames, clip.landmarks, strict=False)]
    loop_s = seconds(lambda: [loop.frame(*one) for one in given], 2) / count
    for one in given:
        loop.frame(*one, shares=True)
    row("insightface loop: detect, get, paste", loop_s, loop_s, listed(loop.seconds, count))
    row("insightface loop: get, paste", loop_s - loop.seconds["detect"] / count, loop_s)
    return loop_s


def measure_swap(ours: Ours, clip: Clip, loop_s: float) -> None:
    """Rows of the swap with frames on the device, and in host memory."""
    frames = upload(clip.frames, ours.device)

    def swap_all(batch: int, detect_every: int) -> float:
        starts = range(0, len(frames) - batch + 1, batch)

        def work() -> None:
            for i in starts:
                ours.swap(frames[i : i + batch], clip.landmarks[i : i + batch], detect_every)

        return seconds(work) / (len(starts) * batch)

    for batch in (1, 8, BATCH, 32):
        crops = similarity(clip.landmarks[:batch], SIZE)
        cuts, latents = cut_tensors(frames[:batch], crops, SIZE) / 255, ours.latent_tensor.expand(batch, -1)
        cut_s = seconds(lambda n=batch, m=crops: cut_tensors(frames[:n], m, SIZE), times=10) / batch
        net_s = seconds(lambda c=cuts, z=latents: ours.swapper.run_tensors(c, z), times=10) / batch
        swap_s = swap_all(batch, detect_every=0)
        shares = {"cut": cut_s, "network": net_s, "paste and launches": swap_s - cut_s - net_s}
        row(f"swap only, frames on the device, batch {batch}", swap_s, loop_s, listed(shares, 1))
    for every in (4, 1):
        row(f"detection on one frame in {every} and swap, batch {BATCH}", swap_all(BATCH, every), loop_s)

    def in_host_memory() -> None:
        for frame, patch in zip(clip.frames.copy(), ours.painter.patches(clip.frames, clip.landmarks, ours.latent), strict=True):
            paste(frame, patch)

    row("frames in host memory: patches and paste, as the service's engine", seconds(in_host_memory, 2) / len(frames), loop_s)


def measure_whole(ours: Ours, loop: InsightfaceLoop, clip: Clip, count: int) -> None:
    """Rows from encoded clip to encoded clip; the loop's own is the one to compare with."""
    start = time.perf_counter()
    sink = Encoder(*clip.frames.shape[2:0:-1])
    for i, frame in zip(range(count), decode(clip.encoded, "bgr24"), strict=False):
        sink.put(av.VideoFrame.from_ndarray(loop.frame(frame, clip.landmarks[i], ours.embedding), format="bgr24"))
    sink.close()
    loop_s = (time.perf_counter() - start) / count
    row("clip to clip: insightface loop between decode and encode", loop_s, loop_s)
    Pipeline(ours, clip).run()
    pipeline, start = Pipeline(ours, clip), time.perf_counter()
    pipeline.run()
    whole_s = (time.perf_counter() - start) / len(clip.frames)
    row("clip to clip: ours, detection on every frame", whole_s, loop_s, listed(pipeline.busy, len(clip.frames)) + ", side by side")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="narrow networks and a short clip")
    parser.add_argument("--compile", action="store_true", help="let inductor fuse inswapper")
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--loop-frames", type=int, default=48, help="frames that the loop runs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    narrow: dict[str, Any] = {"width": 14, "stages": (1, 1, 1, 1), "head": 16} if args.smoke else {}
    sizes, count, loop_frames = ([(320, 192)], 32, 4) if args.smoke else ([(832, 480), (1920, 1080)], args.frames, args.loop_frames)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_weights.scrfd(folder / "det_10g.onnx", score=-9.0, **narrow)
        random_weights.inswapper(folder / "inswapper_128.onnx", width=32 if args.smoke else 1024)
        ours, loop = Ours(folder, args.device, args.compile), InsightfaceLoop(folder, args.device)
        card = torch.cuda.get_device_name() if args.device.startswith("cuda") else "CPU"
        how = ours.swapper.name + (", compiled" if args.compile else "")
        print(
            f"{card}, torch {torch.__version__}, inswapper by {how}, loaded and checked in {ours.load_s:.1f} s; the loop by {loop.runtime}"
        )
        for width, height in sizes:
            clip = make_clip(width, height, count)
            eyes = np.linalg.norm(clip.landmarks[:, 1] - clip.landmarks[:, 0], axis=1).mean()
            print(f"\n### {width}×{height}, {count} frames ({loop_frames} for the loop), one face, eyes {eyes:.0f} px apart\n")
            print("| | fps | ms a frame | against the loop | of which, ms a frame |\n|---|---|---|---|---|")
            loop.seconds = dict.fromkeys(loop.seconds, 0.0)
            measure_swap(ours, clip, measure_loop(loop, clip, ours.embedding, loop_frames))
            measure_whole(ours, loop, clip, loop_frames)
        if args.device.startswith("cuda"):
            print(f"\nPeak GPU memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB, the whole clip's frames among it.")


if __name__ == "__main__":
    main()
