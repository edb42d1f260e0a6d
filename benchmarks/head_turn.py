"""A clip for `faceswap_quality` of a head that turns from profile to profile: a render of a scanned head, at angles that are known.

    python -m benchmarks.head_turn --head LeePerrySmith.glb --skin Map-COL.jpg --into turn.mp4

Reads a binary glTF file with one mesh and no compression. The one used is three.js's: "Infinite, 3D Head Scan" by Lee Perry-Smith
(CC BY 3.0, www.triplegangers.com), examples/models/gltf/LeePerrySmith of github.com/mrdoob/three.js.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.faceswap_clips import write

SIZE = (480, 832)  # height, width
FINER = 2  # times, while it is drawn
DISTANCE = 6.0  # of the camera, in heights of the bust
ZOOM, RAISED = 1.8, 0.2  # heights of the bust to those of the frame, and how far above its middle the camera looks
GROUND = (128, 132, 140)
_FLOAT, _PARTS = np.float32, {"SCALAR": 1, "VEC2": 2, "VEC3": 3}
_TYPES = {5123: np.uint16, 5125: np.uint32, 5126: np.float32}


@dataclass(frozen=True)
class Head:
    """Points (V, 3) around 0, of height 1, x to the right, y up, z to the camera; uv (V, 2) from the top left; triangles (F, 3);
    skin (H, W, 3) RGB."""

    points: np.ndarray
    uv: np.ndarray
    triangles: np.ndarray
    skin: np.ndarray


def read_head(glb: Path, skin: Path) -> Head:
    data = glb.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    layout, blob = json.loads(data[20 : 20 + length]), data[28 + length :]

    def array(number: int) -> np.ndarray:
        accessor = layout["accessors"][number]
        view = layout["bufferViews"][accessor["bufferView"]]
        parts, start = _PARTS[accessor["type"]], view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        return np.frombuffer(blob, _TYPES[accessor["componentType"]], accessor["count"] * parts, start).reshape(-1, parts)

    mesh = layout["meshes"][0]["primitives"][0]
    points = array(mesh["attributes"]["POSITION"])
    middle, height = (points.max(0) + points.min(0)) / 2, np.ptp(points[:, 1])
    texture = cv2.imread(str(skin))[:, :, ::-1]
    uv = array(mesh["attributes"]["TEXCOORD_0"]) * [1, -1] + [0, 1]  # this texture begins at the bottom
    return Head((points - middle) / height, uv, array(mesh["indices"]).reshape(-1, 3), texture)


def draw(head: Head, yaw_deg: float) -> np.ndarray:
    """The head turned by `yaw_deg` to its left, lit from the camera's upper left: a frame (H, W, 3) RGB."""
    height, width = (side * FINER for side in SIZE)
    cos, sin = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    points = head.points @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    near = DISTANCE / (DISTANCE - points[:, 2:])
    placed = (points[:, :2] - [0, RAISED]) * near * [1, -1] * ZOOM * height + [width / 2, height / 2]
    flat = placed[head.triangles].astype(_FLOAT)  # (F, 3, 2)
    solid = points[head.triangles]
    normals = np.cross(solid[:, 1] - solid[:, 0], solid[:, 2] - solid[:, 0])
    numbers = np.full((height, width), -1, np.int32)
    facing = np.flatnonzero(np.cross(flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]) < 0)
    for number in facing[np.argsort(solid[facing, :, 2].mean(axis=1))]:  # far ones first
        cv2.fillConvexPoly(numbers, np.round(flat[number] * 16).astype(np.int32), int(number), shift=4)
    rows, columns = np.nonzero(numbers >= 0)
    drawn = numbers[rows, columns]
    weights = _barycentric(flat[drawn], np.stack([columns, rows], axis=1).astype(_FLOAT))
    uv = np.zeros((height, width, 2), _FLOAT)
    uv[rows, columns] = (weights[:, :, None] * head.uv[head.triangles[drawn]]).sum(axis=1) * head.skin.shape[1::-1]
    colour = cv2.remap(head.skin, uv, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[rows, columns]
    smooth = np.zeros_like(points)
    np.add.at(smooth, head.triangles, normals[:, None])
    shine = (weights[:, :, None] * smooth[head.triangles[drawn]]).sum(axis=1)
    light = shine @ np.array([-0.4, 0.5, 0.77]) / np.maximum(np.linalg.norm(shine, axis=1), 1e-9)
    frame = np.full((height, width, 3), GROUND, np.uint8)
    frame[rows, columns] = np.clip(colour * (0.55 + 0.5 * np.clip(light, 0, 1))[:, None], 0, 255)
    return cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA)


def _barycentric(corners: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Weights (N, 3) of the corners (N, 3, 2) at the points (N, 2)."""
    (ax, ay), (bx, by) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    px, py = (at - corners[:, 0]).T
    area = ax * by - ay * bx
    b, c = (px * by - py * bx) / area, (ax * py - ay * px) / area
    return np.clip(np.stack([1 - b - c, b, c], axis=1), 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", type=Path, required=True)
    parser.add_argument("--skin", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=91, help="from one profile, at -90 degrees, to the other")
    arguments = parser.parse_args()
    head = read_head(arguments.head, arguments.skin)
    arguments.into.write_bytes(write([draw(head, yaw) for yaw in np.linspace(-90, 90, arguments.frames)]))


if __name__ == "__main__":
    main()
