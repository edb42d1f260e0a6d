"""The `embedded` engine: MediaPipe's networks find the face, a landmark mesh carries the source's texture onto it. Runs on a CPU."""

import numpy as np
from numpy.typing import NDArray

from models.errors import NoFaceFound
from models.faceswap.detector import Detection, Detector
from models.faceswap.engine import Face, Patch, Source
from models.faceswap.mesh import Mesh, Region
from models.faceswap.painter import paint
from models.faceswap.portrait import Portrait, prepare
from models.faceswap.recogniser import SAME_PERSON, Recogniser
from models.task import Image

MOST_FACES = 8  # a frame: each costs a run of the mesh
_SURE = 0.5


class EmbeddedEngine:
    """Engine over bundled weights. A Face has 468 landmarks with depth."""

    name = "embedded"
    detect_every = 16  # the mesh itself notices when it loses a face
    batch = 4
    same_person = SAME_PERSON

    def __init__(self) -> None:
        self._detector = Detector()
        self._mesh = Mesh()
        self._recogniser = Recogniser()

    def read_source(self, image: Image) -> Source:
        """The largest face of `image` as a Portrait. Raises NoFaceFound."""
        return prepare(image, self._portrayed(image).landmarks)

    def recognise(self, image: Image) -> NDArray[np.float32]:
        """Embedding (128,) of the largest face of a picture. Raises NoFaceFound."""
        return self.embed(image[None], [self._portrayed(image)])[0]

    def embed(self, frames: NDArray[np.uint8], faces: list[Face]) -> NDArray[np.float32]:
        """Embeddings (N, 128) of one face a frame."""
        return self._recogniser.embed(frames, [face.landmarks for face in faces])

    def _portrayed(self, image: Image) -> Face:
        faces = self.detect(image[None])[0]
        if not faces:
            raise NoFaceFound("no face was found in the source picture; send one where the face is in view, upright and not too small")
        return faces[0]

    def detect(self, frames: NDArray[np.uint8]) -> list[list[Face]]:
        """Faces of each frame of (N, H, W, 3), largest first, eight at most."""
        found = self._detector.detect(frames)
        return [self._faces(frame, detections[:MOST_FACES]) for frame, detections in zip(frames, found, strict=True)]

    def follow(self, frame: Image, last: Face) -> Face | None:
        """The face near `last`; None when the mesh does not see one there."""
        return self._read(frame, Region.of_landmarks(last.landmarks))

    def paint(self, frames: NDArray[np.uint8], faces: list[Face], source: Source, boost: int = 1) -> list[Patch]:
        """One patch a frame; empty where the face is turned too far from the source's pose. It has the frame's own detail: no boost."""
        assert isinstance(source, Portrait)
        return [paint(frame, face.landmarks, source) for frame, face in zip(frames, faces, strict=True)]

    def _faces(self, frame: Image, detections: list[Detection]) -> list[Face]:
        """Read each face twice: the second time from where the first saw it, as when it is followed, so the two agree to the pixel."""
        rough = [self._read(frame, Region.of_detection(detection)) for detection in detections]
        fine = [self.follow(frame, face) for face in rough if face is not None]
        return [face for face in fine if face is not None]

    def _read(self, frame: Image, region: Region) -> Face | None:
        landmarks, score = self._mesh.read(frame, region)
        if score < _SURE:
            return None
        flat = landmarks[:, :2]
        return Face(np.concatenate([flat.min(axis=0), flat.max(axis=0)]), landmarks, score)
