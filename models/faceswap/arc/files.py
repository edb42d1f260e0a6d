"""The model folder of the `insightface` engine: which files it holds, and that they are the published ones."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from models.errors import WeightsMissing

DETECTOR = "det_10g.onnx"
RECOGNISER = "w600k_r50.onnx"
SWAPPER = "inswapper_128.onnx"
SWAPPER_FP16 = "inswapper_128_fp16.onnx"  # used where the full one is absent; its hash must come from the manifest
MANIFEST = "SHA256SUMS"

PUBLISHED = {
    DETECTOR: "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
    RECOGNISER: "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
    SWAPPER: "e4a3f08c753cb72d04e10aa0f7dbe3deebbf39567d4ead6dce08e98aa49e16af",
}

_LINE = re.compile(r"([0-9a-f]{64})[ *]+(\S.*)")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Checked paths of the three networks."""

    detector: Path
    recogniser: Path
    swapper: Path


def check_folder(folder: Path) -> ModelFiles:
    """Find the networks in `folder` and check each one's SHA-256.

    A `SHA256SUMS` file in the folder (the format of `sha256sum`) pins other hashes than the published ones, for other builds.
    Nothing is ever downloaded. Raises WeightsMissing for a file that is absent, unpinned, or not the pinned one.
    """
    pins = PUBLISHED | _manifest(folder / MANIFEST)
    swapper = SWAPPER if (folder / SWAPPER).is_file() or not (folder / SWAPPER_FP16).is_file() else SWAPPER_FP16
    names = (DETECTOR, RECOGNISER, swapper)
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise WeightsMissing(
            f"the insightface engine needs {', '.join(absent)} in {str(folder)!r}: put {DETECTOR} and {RECOGNISER} of the "
            f"buffalo_l pack and {SWAPPER} there (all three are for non-commercial use unless their vendor licenses you), "
            "or use the embedded engine"
        )
    for name in names:
        _check(folder / name, pins.get(name))
    return ModelFiles(*(folder / name for name in names))


def _manifest(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    pins: dict[str, str] = {}
    for line in path.read_text().splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise WeightsMissing(f"{MANIFEST} in {str(path.parent)!r} has the line {line!r}; write '<sha256>  <file name>' on each line")
        pins[match[2]] = match[1]
    return pins


def _check(path: Path, expected: str | None) -> None:
    if expected is None:
        raise WeightsMissing(f"no published hash is known for {path.name}; pin it in a {MANIFEST} file beside it")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise WeightsMissing(
            f"{path.name} in {str(path.parent)!r} has SHA-256 {found}, expected {expected}: "
            f"fetch it again, or pin this build in a {MANIFEST} file beside it"
        )
