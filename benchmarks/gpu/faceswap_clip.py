"""The clip that the face-swap benchmark runs on, made here, and its way through a codec."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
import skimage.data

POINTS = np.array([[196, 112], [247, 110], [223, 140], [203, 167], [246, 165]])  # of the face in scikit-image's astronaut


@dataclass(frozen=True)
class Clip:
    frames: np.ndarray  # (T, H, W, 3) RGB
    landmarks: np.ndarray  # (T, 5, 2)
    encoded: bytes


def make_clip(width: int, height: int, count: int) -> Clip:
    photo = skimage.data.astronaut()
    ground = cv2.resize(photo[::-1], (width + count, height))
    frames, landmarks = np.empty((count, height, width, 3), np.uint8), np.empty((count, 5, 2), np.float32)
    for i in range(count):
        matrix = cv2.getRotationMatrix2D((223, 140), 8 * np.sin(i / 9), height / 512 * (1.15 + 0.05 * np.sin(i / 13)))
        matrix[:, 2] += (width * (0.5 + 0.1 * np.sin(i / 20)) - 223, height * 0.45 - 140)
        frame = np.ascontiguousarray(ground[:, i : i + width])
        frames[i] = cv2.warpAffine(photo, matrix, (width, height), frame, borderMode=cv2.BORDER_TRANSPARENT)
        landmarks[i] = POINTS @ matrix[:, :2].T + matrix[:, 2]
    sink = Encoder(width, height)
    for frame in frames:
        sink.put(av.VideoFrame.from_ndarray(frame, format="rgb24"))
    return Clip(frames, landmarks, sink.close())


class Encoder:
    """H.264 as the service writes it: yuv420p, BT.709."""

    def __init__(self, width: int, height: int) -> None:
        self._bytes = io.BytesIO()
        self._container = av.open(self._bytes, "w", format="mp4")
        self._stream: Any = self._container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "20"})
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.thread_type = "AUTO"

    def put(self, frame: av.VideoFrame) -> None:
        self._container.mux(self._stream.encode(frame))

    def close(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._bytes.getvalue()


def decode(encoded: bytes, pixels: str) -> Iterator[np.ndarray]:
    with av.open(io.BytesIO(encoded)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format=pixels)
