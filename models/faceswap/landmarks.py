"""The few points of a face that every engine knows, whatever landmarks it works with."""

import numpy as np
from numpy.typing import NDArray

from models.faceswap.engine import Face
from models.faceswap.mesh import LANDMARKS

# Landmarks of the 468-point mesh around the five keypoints: both corners of each eye, nose tip, mouth corners, as seen in the picture.
_MESH_FIVE = ((33, 133), (362, 263), (1, 1), (61, 61), (291, 291))


def five_points(face: Face) -> NDArray[np.float32]:
    """Keypoints (5, 2) of a face with five or 468 landmarks: left eye, right eye, nose tip, left and right mouth corner in the picture."""
    flat = face.landmarks[:, :2]
    if len(flat) == len(_MESH_FIVE):
        return flat.astype(np.float32)
    return np.stack([flat[list(pair)].mean(axis=0) for pair in _MESH_FIVE]).astype(np.float32)


def has_mesh(face: Face) -> bool:
    """Whether the face's landmarks are the 468 of the mesh."""
    return len(face.landmarks) == LANDMARKS
