import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.faceswap import bundled
from models.faceswap.geometry import face_width
from models.faceswap.raster import Canvas, draw, triangles, warp


@pytest.fixture
def face(engine, astronaut):
    return engine.detect(astronaut[None])[0][0].landmarks


def test_triangles_close_the_mouth_and_the_eyes():
    edges = {(a, b) for face in triangles().tolist() for a, b in zip(face, [*face[1:], face[0]], strict=True)}
    rim = {a for a, b in edges if (b, a) not in edges}
    assert len(triangles()) == 852 + 46
    assert rim == set(bundled.topology("oval"))


@pytest.mark.parametrize("scale", [0.5, 1.0, 5.0])
def test_a_mesh_mapped_to_itself_moves_nothing(face, scale):
    points = face[:, :2] * np.float32(scale)
    canvas = Canvas.around(points, face_width(face) * scale, (3000, 3000))
    raster = draw(points, face[:, 2], canvas)
    where = canvas.stretch(raster.map_by(raster.toward(points)))
    x, y = np.meshgrid(np.arange(where.shape[1]) + canvas.left, np.arange(where.shape[0]) + canvas.top)
    inner = np.s_[canvas.cell : -canvas.cell, canvas.cell : -canvas.cell]  # stretching repeats the outermost half cell
    np.testing.assert_allclose(where[inner], np.stack([x, y], axis=-1)[inner], atol=0.02 * max(1, scale))


def test_a_shift_is_carried_over(face, astronaut):
    points = face[:, :2]
    canvas = Canvas.around(points, face_width(face), astronaut.shape[:2])
    raster = draw(points, face[:, 2], canvas)
    shifted = np.roll(astronaut, (3, 5), axis=(0, 1))
    moved = warp(shifted, raster.map_by(raster.toward(points + np.float32([5, 3]))))
    inside = raster.numbers < len(triangles())
    assert np.abs(moved.astype(int) - canvas.cut(astronaut))[inside].max() <= 1


def test_the_canvas_stays_in_the_frame_and_repeats_its_edge(face, astronaut):
    points = face[:, :2]
    frame = astronaut[:150, :240]  # cuts the chin and the right of the face
    canvas = Canvas.around(points, 400, frame.shape[:2])  # cells of three pixels
    assert canvas.cell == 3
    cut = canvas.cut(frame)
    assert cut.shape == (canvas.rows * 3, canvas.columns * 3, 3)
    seen = frame[canvas.top :, canvas.left :]
    np.testing.assert_array_equal(cut[: seen.shape[0], : seen.shape[1]], seen[: cut.shape[0], : cut.shape[1]])
    np.testing.assert_array_equal(cut[-1], cut[seen.shape[0] - 1])


def test_no_canvas_outside_the_frame(face):
    assert Canvas.around(face[:, :2] + np.float32(1000), 90, (320, 512)) is None
    assert Canvas.around(face[:, :2] - np.float32(1000), 90, (320, 512)) is None


@pytest.mark.parametrize("turn", [-75, 75])
def test_the_near_half_of_a_turned_face_hides_the_far_one(face, turn):
    centred = face - face.mean(axis=0)
    turned = Rotation.from_euler("y", turn, degrees=True).apply(centred).astype(np.float32) + np.float32(200)
    canvas = Canvas.around(turned[:, :2], face_width(face), (400, 400))
    seen = np.unique(draw(turned[:, :2], turned[:, 2], canvas).numbers)[:-1]
    depth = turned[triangles(), 2].mean(axis=1)
    hidden = np.setdiff1d(np.arange(len(triangles())), seen)
    assert len(hidden) > 200
    assert depth[seen].mean() < depth[hidden].mean()
