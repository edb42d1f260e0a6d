"""What face swap adds to image to video: `/wan2.6-i2v` against `/wan2.6-i2v-faceswap` on a real Serve cluster, by turns.

    python -m benchmarks.chain --clip person.mp4 --face face.jpg --calls 5

Random tiny weights paint no faces, so a stand-in for the video runner does the tiny model's whole work (encode, denoise, decode) and then
hands out the frames of `--clip` in place of its own: every frame has a face, and the time of generation is the model's.
"""

import argparse
import base64
import functools
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, cycle
from pathlib import Path

import httpx
import numpy as np

from models.media import decode
from models.runner import Call, Frames
from models.task import ImageToVideo, Task
from models.wan import WanImageToVideo
from models.weights import Loading
from serve.local import environment, start_cluster
from serve.settings import Settings

URL = "http://127.0.0.1:8027"


class ClipPlayerStandIn(WanImageToVideo):
    """Works like the model it stands in for, and shows a clip's frames instead of its own."""

    def __init__(self, clip: bytes, loading: Loading) -> None:
        super().__init__(loading)
        self._film = clip

    def run(self, task: Task, call: Call) -> Iterator[Frames]:
        assert isinstance(task, ImageToVideo)
        pictures = cycle(chain.from_iterable(frames.pixels for frames in list(decode(self._film))))
        for frames in super().run(task, call):
            yield Frames(np.stack([next(pictures) for _ in frames.pixels]), frames.times_s)


def serve(clip: Path) -> None:
    settings = Settings(port=8027, models=("wan-ti2v", "face-swap"), database_url=f"sqlite:///{tempfile.mkdtemp()}/jobs.db")
    player = functools.partial(ClipPlayerStandIn, clip.read_bytes())
    environment(settings)
    start_cluster(settings)
    from ray import serve as ray_serve

    from serve.app import application, chosen_deployments

    declared = chosen_deployments(settings)
    ray_serve.run(application(settings, [replace(d, runner=player) if d.name == "wan-ti2v" else d for d in declared]), name="chain")


def timed(client: httpx.Client, path: str, body: dict[str, object]) -> tuple[float, httpx.Response]:
    started = time.perf_counter()
    response = client.post(path, json=body)
    response.raise_for_status()
    return time.perf_counter() - started, response


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--face", type=Path, required=True)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    serve(options.clip)
    face = base64.b64encode(options.face.read_bytes()).decode()
    video = {"prompt": "a person", "reference_image": face, "steps": options.steps, "seed": 1, "output_format": "mp4"}
    alone, swapped, found = [], [], ""
    with httpx.Client(base_url=URL, timeout=600) as client:
        for turn in range(options.calls + 1):
            for times, path, body in ((alone, "/wan2.6-i2v", video), (swapped, "/wan2.6-i2v-faceswap", video | {"face_image": face})):
                seconds, response = timed(client, path, body)
                found = response.headers.get("x-faces-swapped", found)
                if turn:  # the first turn warms up
                    times.append(seconds)
    one, two = statistics.median(alone), statistics.median(swapped)
    print(f"832×480, 33 frames, {options.steps} steps, {options.calls} calls each by turns; stand-in video runner; faces swapped: {found}")
    print(f"/wan2.6-i2v {one:.2f} s   /wan2.6-i2v-faceswap {two:.2f} s   added {two - one:.2f} s = {100 * (two / one - 1):.0f} %")


if __name__ == "__main__":
    main()
