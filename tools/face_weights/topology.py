"""The face mesh's triangles, and which landmark mirrors which, from the edge list that MediaPipe publishes."""

import ast

import numpy as np
from scipy.optimize import linear_sum_assignment

LANDMARKS = 468
FOREHEAD = 10  # where the middle line meets the face's oval


def triangles(source: str) -> np.ndarray:
    """uint16 (852, 3) from `face_mesh_connections.py`: its FACEMESH_TESSELATION lists each triangle as three edges in a row."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "FACEMESH_TESSELATION":
            edges = ast.literal_eval(node.value.args[0])  # type: ignore[attr-defined]
            corners = np.array(edges, np.uint16).reshape(-1, 3, 2)
            if not (corners[:, :, 1] == np.roll(corners[:, :, 0], -1, axis=1)).all():
                raise ValueError("the edge list does not run around triangles")
            return corners[:, :, 0]
    raise ValueError("no FACEMESH_TESSELATION in the source")


def rims(faces: np.ndarray) -> list[list[int]]:
    """The mesh's borders as loops of landmarks: the oval (36), the mouth (20) and the eyes (16 each), longest first."""
    directed = {(a, b) for face in faces.tolist() for a, b in zip(face, face[1:] + face[:1], strict=True)}
    after = {b: a for a, b in directed if (b, a) not in directed}
    loops = []
    while after:
        start = here = min(after)
        loop = []
        while not loop or here != start:
            loop.append(here)
            here = after.pop(here)
        loops.append(loop)
    return sorted(loops, key=len, reverse=True)


def mirror(faces: np.ndarray) -> np.ndarray:
    """uint16 (468,): the landmark on the other half of the face.

    The published mesh is symmetric but for some diagonals, so its planar drawing (Tutte: the oval on a circle, every other landmark at the
    mean of its neighbours) nearly is. Each landmark goes with the one nearest to its reflection, all at once. Raises ValueError when the
    pairs do not agree with each other.
    """
    drawing = _drawing(faces)
    reflected = drawing * (-1, 1)
    distance = np.linalg.norm(drawing[:, None] - reflected[None], axis=-1)
    pairs = linear_sum_assignment(distance**2)[1]
    if not (pairs[pairs] == np.arange(LANDMARKS)).all():
        raise ValueError("the mirrored landmarks do not pair up")
    return pairs.astype(np.uint16)


def _drawing(faces: np.ndarray) -> np.ndarray:
    """float64 (468, 2), the forehead at (0, 1)."""
    oval = rims(faces)[0]
    oval = oval[oval.index(FOREHEAD) :] + oval[: oval.index(FOREHEAD)]
    angles = np.arange(len(oval)) * 2 * np.pi / len(oval)
    laplacian = np.zeros((LANDMARKS, LANDMARKS))
    for a, b, c in faces.tolist():
        for p, q in ((a, b), (b, c), (c, a)):
            laplacian[p, q] = laplacian[q, p] = -1
    np.fill_diagonal(laplacian, -laplacian.sum(axis=1))
    target = np.zeros((LANDMARKS, 2))
    laplacian[oval] = np.eye(LANDMARKS)[oval]
    target[oval] = np.column_stack([np.sin(angles), np.cos(angles)])
    return np.linalg.solve(laplacian, target)
