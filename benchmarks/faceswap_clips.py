"""Clips for `faceswap_quality`, made of given ones and of a photo that an installed package ships.

    python -m benchmarks.faceswap_clips --one park.mp4 --other talking.mp4 --into clips

- two.mp4: the two people beside each other; each frame of both is real.
- cuts.mp4: the first, the second, the first again mirrored to the other side: the first person must keep the face, the second get none.
- photo.mp4: scikit-image's photo of an astronaut under a camera that moves, tilts and nears; the face itself is still.
- hand.mp4: the first with a flat, skin-coloured shape that crosses the face: the one clip here that is partly drawn.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from models.media import Encoding, decode, encode
from models.runner import Frames

FPS = 16
HEIGHT = 480


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", type=Path, required=True)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    arguments = parser.parse_args()
    one, other = (fitted(arguments.one), fitted(arguments.other))
    arguments.into.mkdir(parents=True, exist_ok=True)
    for name, frames in {"two": two(one, other), "cuts": cuts(one, other), "photo": photo(), "hand": hand(one)}.items():
        (arguments.into / f"{name}.mp4").write_bytes(write(frames))


def fitted(path: Path) -> list[np.ndarray]:
    """Frames of 480 rows."""
    frames = [picture for part in decode(path.read_bytes()) for picture in part.pixels]
    width = round(frames[0].shape[1] * HEIGHT / frames[0].shape[0] / 2) * 2
    return [cv2.resize(frame, (width, HEIGHT), interpolation=cv2.INTER_AREA) for frame in frames]


def two(one: list[np.ndarray], other: list[np.ndarray]) -> list[np.ndarray]:
    return [np.concatenate(pair, axis=1) for pair in zip(one, other[::2], strict=False)]


def cuts(one: list[np.ndarray], other: list[np.ndarray]) -> list[np.ndarray]:
    padded = [np.pad(frame, ((0, 0), (0, max(0, one[0].shape[1] - frame.shape[1])), (0, 0))) for frame in other[:48:2]]
    return one[:24] + padded + [np.ascontiguousarray(frame[:, ::-1]) for frame in one[8:]]


def photo(count: int = 48) -> list[np.ndarray]:
    picture = cv2.resize(data.astronaut(), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    frames = []
    for number in range(count):
        swing = np.sin(2 * np.pi * number / count)
        matrix = cv2.getRotationMatrix2D((446, 280), 18 * swing, 0.9 + 0.3 * number / count)
        matrix[:, 2] += (416 - 446 + 60 * swing, 240 - 280)
        frames.append(cv2.warpAffine(picture, matrix, (832, HEIGHT), borderMode=cv2.BORDER_REFLECT))
    return frames


def hand(frames: list[np.ndarray]) -> list[np.ndarray]:
    done = []
    for number, frame in enumerate(frames):
        x, y, size = 60 + 26 * (number - 6), 300, 110
        drawn = np.zeros(frame.shape[:2], np.uint8)
        for finger in range(4):
            cv2.line(drawn, (x + finger * size // 5, y), (x + finger * size // 4, y - size), 255, size // 7, cv2.LINE_AA)
        cv2.ellipse(drawn, (x + size // 3, y + size // 4), (size // 2, size // 2), 0, 0, 360, 255, -1, cv2.LINE_AA)
        weight = cv2.GaussianBlur(drawn, (0, 0), 1)[..., None] / 255
        done.append((frame * (1 - weight) + np.array([196, 150, 126]) * weight).astype(np.uint8))
    return done


def write(frames: Sequence[np.ndarray]) -> bytes:
    chunks = (Frames(np.stack(frames[at : at + 8]), np.arange(at, at + len(frames[at : at + 8])) / FPS) for at in range(0, len(frames), 8))
    return encode(chunks, Encoding(format="mp4", crf=12))


if __name__ == "__main__":
    main()
