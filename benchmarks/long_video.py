"""A minute of 1080p through the face swap: memory above idle, progress, and how fast a cancel stops it.

    python -m benchmarks.long_video --clip person.mp4 --face face.jpg

The input is made of the given clip, played forth and back, scaled to 1920x1080 at 25 frames a second, with a tone for sound. It goes
through the same host that a replica has: decode, track, swap, encode, sign. Memory is the process's resident size, sampled every 50 ms;
idle is with the model loaded, once warm, and the input in memory.
"""

import argparse
import asyncio
import io
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import av
import cv2
import numpy as np

from models.faceswap.swapper import FaceSwapper
from models.host import Result, RunnerHost
from models.media import Encoding, Limits, decode, encode, probe, read_image
from models.provenance import Sealer, Signing
from models.runner import Frames, Progress
from models.task import SwapFaces
from models.weights import Loading

SIZE = (1920, 1080)
FPS = 25


class Memory:
    """Peak resident size while it runs, in MB."""

    def __init__(self) -> None:
        self.peak = now_mb()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.peak = max(self.peak, now_mb())

    def end(self) -> float:
        self._stop.set()
        self._thread.join()
        return self.peak


def now_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--face", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    source = read_image(arguments.face.read_bytes(), "the face", Limits())
    target = long_clip(arguments.clip.read_bytes(), arguments.seconds)
    info = probe(target, "the long clip", Limits())
    print(f"input        {info.frames} frames, {info.width}x{info.height}, {info.seconds:.1f} s, {len(target) / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(target, source, Sealer(Signing(dev_folder=Path(folder)))))


async def measure(target: bytes, source: np.ndarray, sealer: Sealer) -> None:
    host = RunnerHost(FaceSwapper(Loading({})), sealer=sealer)
    encoding = Encoding(format="mp4", audio=target)
    await swap(host, SwapFaces(source=source, target=still(source)), Encoding(format="png"))
    idle, memory = now_mb(), Memory()
    result, seconds, heard, gap = await swap(host, SwapFaces(source=source, target=target), encoding)
    peak = memory.end()
    facts = result.stages[-1].facts
    print(f"memory       idle {idle:.0f} MB, peak {peak:.0f} MB: {peak - idle:.0f} MB above idle")
    frames, swapped = int(facts["frames"]), int(facts["faces_swapped"])
    print(f"speed        {seconds:.0f} s, {frames / seconds:.1f} fps; faces in {swapped} of {frames} frames")
    print(f"progress     {heard} events, longest silence {gap:.1f} s")
    out = probe(result.media, "the reply", Limits())
    size = f"{len(result.media) / 1e6:.1f} MB"
    print(f"output       {out.frames} frames, {out.seconds:.1f} s, sound {out.has_audio}, {size}, signed: {facts['provenance']}")
    stops = [await stop_after(host, SwapFaces(source=source, target=target), encoding, after) for after in (0.3, 3.0, 8.0)]
    print(f"cancel       stopped after {', '.join(f'{1000 * stop:.0f}' for stop in stops)} ms")
    print(f"afterwards   {now_mb() - idle:.0f} MB above idle")
    host.close()


async def swap(host: RunnerHost, task: SwapFaces, encoding: Encoding) -> tuple[Result, float, int, float]:
    """The result, its seconds, signs of progress heard, and the longest silence between them."""
    began = last = time.perf_counter()
    heard, gap = 0, 0.0
    async for event in host.produce(task, encoding):
        now = time.perf_counter()
        gap, last = max(gap, now - last), now
        if isinstance(event, Progress):
            assert event.total >= event.done
            heard += 1
        elif isinstance(event, Result):
            return event, now - began, heard, gap
    raise AssertionError("a run ends with a result or raises")


async def stop_after(host: RunnerHost, task: SwapFaces, encoding: Encoding, seconds: float) -> float:
    """How long it takes until nothing runs any more when the caller leaves after `seconds`."""
    events = host.produce(task, encoding)

    async def listen() -> None:
        async with aclosing(events):
            async for _ in events:
                pass

    listening = asyncio.create_task(listen())
    await asyncio.sleep(seconds)
    began = time.perf_counter()
    listening.cancel()
    await asyncio.wait({listening})
    assert host.running == 0
    return time.perf_counter() - began


def still(picture: np.ndarray) -> bytes:
    return encode(iter([Frames(picture[None], np.zeros(1))]), Encoding(format="png"))


def long_clip(clip: bytes, seconds: float) -> bytes:
    """The clip, forth and back until the time is up, at full HD, with a tone."""
    frames = [cv2.resize(picture, SIZE) for part in decode(clip) for picture in part.pixels[:, :, :]][:100]
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]

    def chunks() -> Iterator[Frames]:
        for first in range(0, round(seconds * FPS), 8):
            numbers = range(first, min(first + 8, round(seconds * FPS)))
            yield Frames(np.stack([frames[order[n % len(order)]] for n in numbers]), np.array(numbers) / FPS)

    return encode(chunks(), Encoding(format="mp4", preset="ultrafast", audio=tone(seconds)))


def tone(seconds: float) -> bytes:
    """A clip with nothing but sound in it, beside one small picture."""
    file, rate = io.BytesIO(), 48_000
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=FPS, width=64, height=64, pix_fmt="yuv420p")
        sound = container.add_stream("aac", rate=rate, layout="mono")
        for number in range(round(seconds * FPS)):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode())
        wave = (0.1 * np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 440 / rate)).astype(np.float32)
        for start in range(0, len(wave) - 1024, 1024):
            part = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
            part.sample_rate, part.pts = rate, start
            container.mux(sound.encode(part))
        container.mux(sound.encode())
    return file.getvalue()


if __name__ == "__main__":
    main()
