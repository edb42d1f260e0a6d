import numpy as np
import pytest

from models.faceswap import bundled
from models.faceswap.engine import Face, Patch
from models.faceswap.landmarks import five_points
from models.faceswap.masks import narrow
from models.faceswap.mesh import Mesh
from models.faceswap.occlusion import mesh_of
from models.faceswap.tracker import Cover, Seen
from models.task import FaceMask


@pytest.fixture(scope="module")
def mesh():
    return Mesh()


@pytest.fixture(scope="module")
def face(engine, astronaut):
    return engine.detect(astronaut[None])[0][0]


@pytest.fixture
def patch(astronaut):
    """The whole frame, painted."""
    return Patch(0, 0, np.zeros_like(astronaut), np.ones(astronaut.shape[:2], np.float32))


def alpha(patch, frame, face, mesh, cover=None, **mask):
    (narrowed,) = narrow([patch], [frame], [Seen(0, 0, face, cover)], FaceMask(**mask), mesh)
    assert narrowed.alpha.shape == patch.alpha.shape
    return narrowed.alpha


def five(face):
    return Face(face.box, five_points(face), 1.0)


def test_nothing_asked_changes_nothing(patch, astronaut, face, mesh):
    np.testing.assert_array_equal(alpha(patch, astronaut, face, mesh), patch.alpha)


def test_the_box_is_the_faces_own_and_padding_draws_its_sides_in(patch, astronaut, face, mesh):
    points = face.landmarks[bundled.topology("oval"), :2]
    bare = alpha(patch, astronaut, face, mesh, padding=(0.01, 0, 0, 0)) > 0.5
    rows, columns = np.flatnonzero(bare.any(axis=1)), np.flatnonzero(bare.any(axis=0))
    assert np.abs(np.subtract([columns[0], columns[-1]], [points[:, 0].min(), points[:, 0].max()])).max() < 12
    top = alpha(patch, astronaut, face, mesh, padding=(0.4, 0, 0, 0)) > 0.5
    assert top.sum() == pytest.approx(0.6 * bare.sum(), rel=0.1)
    assert np.flatnonzero(top.any(axis=1))[0] > rows[0] + 0.3 * len(rows)
    assert np.flatnonzero(top.any(axis=1))[-1] == pytest.approx(rows[-1], abs=1)
    left = alpha(patch, astronaut, face, mesh, padding=(0, 0, 0, 0.4)) > 0.5
    assert np.flatnonzero(left.any(axis=0))[0] > columns[0] + 0.3 * len(columns)


def test_blur_softens_inward(patch, astronaut, face, mesh):
    sharp = alpha(patch, astronaut, face, mesh, padding=(0.01, 0, 0, 0))
    soft = alpha(patch, astronaut, face, mesh, blur=0.8)
    assert ((soft > 0.01) & (soft < 0.99)).sum() > 3 * ((sharp > 0.01) & (sharp < 0.99)).sum()
    assert (soft <= sharp + 0.05).all()
    assert soft.max() > 0.99


def test_the_oval_holds_a_painted_square_to_the_face(patch, astronaut, face, mesh):
    """For an engine with five landmarks; the mesh is read around them."""
    inside = alpha(patch, astronaut, five(face), mesh, oval=True) > 0.01
    points = face.landmarks[bundled.topology("oval"), :2]
    low, high = points.min(axis=0), points.max(axis=0)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    np.testing.assert_allclose([columns[0], rows[0], columns[-1], rows[-1]], [*low, *high], atol=6)
    x, y = face.landmarks[1, :2].astype(int)
    assert inside[y, x]


def test_the_mesh_around_five_points_is_that_of_the_face(astronaut, face, mesh):
    around = mesh_of(astronaut, Seen(0, 0, five(face)), mesh)
    assert np.abs(around[:, :2] - face.landmarks[:, :2]).mean() < 2
    assert mesh_of(astronaut, Seen(0, 0, face), mesh) is face.landmarks


def test_what_is_hidden_stays_in_front(patch, astronaut, face, mesh):
    home = (face.landmarks[:, :2] - face.landmarks[:, :2].min(axis=0)).astype(np.float32)
    home *= 95 / home.max()
    hidden = np.zeros((96, 96), np.float32)
    hidden[:48] = 1  # the upper half of the face
    shown = alpha(patch, astronaut, face, mesh, cover=Cover(hidden, home, face.landmarks), occlusion=True)
    brow, chin = (face.landmarks[number, :2].astype(int) for number in (9, 152))
    assert shown[brow[1], brow[0]] < 0.1
    assert shown[chin[1] - 4, chin[0]] > 0.9


def test_an_empty_patch_stays_empty(astronaut, face, mesh):
    empty = Patch(0, 0, np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.float32))
    (narrowed,) = narrow([empty], [astronaut], [Seen(0, 0, face)], FaceMask(blur=0.5, oval=True), mesh)
    assert narrowed.alpha.size == 0
