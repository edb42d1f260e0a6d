"""How well the embedded engine swaps the face of a clip, and how fast: a table, and a contact sheet to look at.

    python -m benchmarks.faceswap_quality --clip person.mp4 --face face.jpg --sheet sheet.png --identity package/models

`--choose left` measures that person of several; `--keep-occlusion` uses the mask. `faceswap_clips.py` makes clips of several and of cuts.

What is measured, with the engine's own mesh on the frames before and after (steadied by nothing):

- faces: frames in which the face was found. turned: how far the head turns from the camera in the clip, the most of it.
- pose: mean degrees by which the head turned between original and swapped frame (rigid fit of the landmarks).
- mouth, eyes: correlation over time of their opening, original against swapped. Means nothing on a clip where they hardly move, so their
  standard deviation in the original is printed beside it.
- jitter: mean change of velocity of the landmarks from frame to frame, in thousandths of the face's width, and swapped over original.
- identity (with `--identity`, see `identity.py`): cosine to the source before and after.
- milliseconds a frame of decoding, tracking (detection included) and swapping, encoding, and frames a second of the whole.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from models.faceswap.embedded import EmbeddedEngine
from models.faceswap.geometry import face_width, fit_rigid, turn_deg
from models.faceswap.shape import Zones
from models.faceswap.swapper import FaceSwapper
from models.faceswap.tracker import Tracker
from models.media import Encoding, decode, encode, read_image
from models.media.limits import DEFAULT_LIMITS
from models.runner import Call, Frames
from models.task import FaceChoice, FaceMask, SourceFace, SwapFaces
from models.weights import Loading

SHEET_COLUMNS = 6
SHEET_HEIGHT = 420


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--face", type=Path, required=True)
    parser.add_argument("--sheet", type=Path, help="where to write the contact sheet, a PNG")
    parser.add_argument("--identity", type=Path, help="folder with faceres.json and faceres.bin")
    parser.add_argument("--rounds", type=int, default=3, help="runs for the timing, of which the best counts")
    parser.add_argument("--choose", default="largest", choices=("largest", "left", "right"))
    parser.add_argument("--keep-occlusion", action="store_true")
    arguments = parser.parse_args()
    choice = FaceChoice(by=arguments.choose)

    clip = arguments.clip.read_bytes()
    source = read_image(arguments.face.read_bytes(), "the face", DEFAULT_LIMITS)
    swapper = FaceSwapper(Loading({}))
    task = SwapFaces(source=source, face=choice, mask=FaceMask(occlusion=arguments.keep_occlusion))
    original = np.concatenate([frames.pixels for frames in decode(clip)])
    swapped, facts, times = min((run(swapper, clip, task) for _ in range(arguments.rounds)), key=lambda result: sum(result[2].values()))

    before, after = landmarks(original, choice), landmarks(swapped, choice)
    both = [(a, b) for a, b in zip(before, after, strict=True) if a is not None and b is not None]
    rows = {
        "frames": f"{len(original)} of {original.shape[2]}x{original.shape[1]}, face {np.mean([face_width(a) for a, _ in both]):.0f} px"
    }
    rows["faces"] = f"{100 * facts['faces_swapped'] / facts['frames']:.1f} %"
    rows["turned"] = f"{max(turn_deg(a) for a, _ in both):.0f} deg at most"
    rows["pose"] = f"{pose_error(both):.2f} deg"
    for name, measure in (("mouth", mouth), ("eyes", eyes)):
        one, other = (np.array([measure(pair[side]) for pair in both]) for side in (0, 1))
        rows[name] = f"{np.corrcoef(one, other)[0, 1]:.3f}, moves by {one.std():.4f}"
    shake = [jitter([pair[side] for pair in both]) for side in (0, 1)]
    rows["jitter"] = f"{shake[0]:.2f} -> {shake[1]:.2f}, ratio {shake[1] / shake[0]:.2f}"
    if arguments.identity is not None:
        rows["identity"] = identity(arguments.identity, source, original, swapped, before, after)
    rows["ms a frame"] = ", ".join(f"{name} {1000 * seconds / len(original):.1f}" for name, seconds in times.items() if name != "whole")
    rows["whole"] = f"{len(original) / times['whole']:.1f} fps, decoded, swapped and encoded"
    for name, value in rows.items():
        print(f"{name:12} {value}")
    if arguments.sheet is not None:
        cv2.imwrite(str(arguments.sheet), sheet(original, swapped, before)[:, :, ::-1])


def run(swapper: FaceSwapper, clip: bytes, task: SwapFaces) -> tuple[np.ndarray, dict, dict[str, float]]:
    """The swapped frames, the facts, and seconds by stage; encoded too, as a server does it."""
    call, kept = Call(), []

    def keep(frames: Iterator[Frames]) -> Iterator[Frames]:
        for chunk in frames:
            kept.append(chunk.pixels)
            yield chunk

    def timed(frames: Iterator[Frames]) -> Iterator[Frames]:
        while True:
            started = time.perf_counter()
            chunk = next(frames, None)
            call.spent("decode", time.perf_counter() - started)
            if chunk is None:
                return
            yield chunk

    started = time.perf_counter()
    encode(keep(swapper.transform(task, timed(decode(clip)), call)), Encoding(format="mp4"), call)
    call.spent("whole", time.perf_counter() - started)
    call.seconds["track"] -= call.seconds["decode"]  # decoding happens while the tracker asks for frames
    return np.concatenate(kept), dict(call.facts), dict(call.seconds)


def landmarks(frames: np.ndarray, choice: FaceChoice) -> list[np.ndarray | None]:
    times = np.arange(len(frames), dtype=np.float64)
    tracked = Tracker(EmbeddedEngine(), [SourceFace(image=frames[0], face=choice)]).track([Frames(frames, times)])
    return [item.faces[0].face.landmarks if item.faces else None for item in tracked]


def pose_error(both: list[tuple[np.ndarray, np.ndarray]]) -> float:
    weights = Zones.of(both[0][0]).rigid
    return float(np.mean([fit_rigid(a, b, weights).angle_deg for a, b in both]))


def mouth(face: np.ndarray) -> float:
    return float(np.linalg.norm(face[13] - face[14]) / face_width(face))


def eyes(face: np.ndarray) -> float:
    openings = [np.linalg.norm(face[upper] - face[lower]) for upper, lower in ((159, 145), (386, 374))]
    return float(np.mean(openings) / face_width(face))


def jitter(faces: list[np.ndarray]) -> float:
    track = np.stack(faces)[:, :, :2]
    shake = np.linalg.norm(np.diff(track, n=2, axis=0), axis=-1).mean()
    return float(1000 * shake / np.mean([face_width(face) for face in faces]))


def identity(folder: Path, source: np.ndarray, original: np.ndarray, swapped: np.ndarray, before: list, after: list) -> str:
    from benchmarks.identity import Faceres

    network = Faceres(folder)
    (wanted,) = landmarks(source[None], FaceChoice())
    assert wanted is not None
    target = network.embed(source, wanted)
    rows = [row for row in range(0, len(original), 4) if before[row] is not None and after[row] is not None]
    old, new = (
        [network.embed(frames[row], faces[row]) @ target for row in rows] for frames, faces in ((original, before), (swapped, after))
    )
    return f"{np.mean(old):.3f} -> {np.mean(new):.3f}, gain {np.mean(new) - np.mean(old):+.3f}"


def sheet(original: np.ndarray, swapped: np.ndarray, before: list) -> np.ndarray:
    """Original above swapped, cut around the face."""
    rows = [row for row in range(len(original)) if before[row] is not None]
    rows = [rows[at] for at in np.linspace(0, len(rows) - 1, SHEET_COLUMNS).astype(int)]
    columns = []
    for row in rows:
        low, high = before[row][:, :2].min(axis=0), before[row][:, :2].max(axis=0)
        side = 0.8 * float((high - low).max())
        x, y = (low + high) / 2
        part = np.s_[max(0, int(y - side)) : int(y + side), max(0, int(x - side)) : int(x + side)]
        pair = [cv2.resize(frames[row][part], (SHEET_HEIGHT, SHEET_HEIGHT), interpolation=cv2.INTER_AREA) for frames in (original, swapped)]
        columns.append(np.concatenate(pair, axis=0))
    return np.concatenate(columns, axis=1)


if __name__ == "__main__":
    main()
