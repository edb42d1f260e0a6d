import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.faceswap.geometry import fit_rigid, smooth_step, to_loop


@pytest.mark.parametrize("angles", [(0, 0, 0), (10, -30, 5), (0, 65, 0), (170, 20, -80)])
def test_finds_the_motion_that_was_made(angles):
    rng = np.random.default_rng(1)
    points = rng.normal(size=(468, 3)).astype(np.float32)
    rotation = Rotation.from_euler("xyz", angles, degrees=True)
    moved = (2.5 * rotation.apply(points) + (30, -4, 7)).astype(np.float32)
    fit = fit_rigid(points, moved, np.ones(468, np.float32))
    np.testing.assert_allclose(fit.apply(points), moved, atol=1e-3)
    assert fit.scale == pytest.approx(2.5, abs=1e-3)
    assert fit.angle_deg == pytest.approx(np.degrees(rotation.magnitude()), abs=0.1)


def test_points_without_weight_do_not_count():
    points = np.random.default_rng(2).normal(size=(20, 3)).astype(np.float32)
    moved = points + np.float32(1)
    moved[15:] += 50
    weights = np.array([1] * 15 + [0] * 5, np.float32)
    assert fit_rigid(points, moved, weights).angle_deg < 0.1


def test_never_mirrors():
    points = np.random.default_rng(3).normal(size=(20, 3)).astype(np.float32)
    fit = fit_rigid(points, points * (-1, 1, 1), np.ones(20, np.float32))
    assert np.linalg.det(fit.rotation) == pytest.approx(1, abs=1e-4)


def test_tilt_leaves_out_turning_in_the_picture():
    points = np.random.default_rng(4).normal(size=(20, 3)).astype(np.float32)
    turned = Rotation.from_euler("z", 40, degrees=True).apply(points).astype(np.float32)
    assert fit_rigid(points, turned, np.ones(20, np.float32)).tilt_deg < 0.1


def test_smooth_step_runs_either_way():
    values = np.array([0.0, 1.0, 1.5, 2.0, 3.0], np.float32)
    np.testing.assert_allclose(smooth_step(values, 1, 2), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(smooth_step(values, 2, 1), [1, 1, 0.5, 0, 0])


def test_distance_to_a_loop():
    points = np.array([[0, 0, 0], [3, 4, 0], [0, 1, 0]], np.float32)
    np.testing.assert_allclose(to_loop(points, np.array([0])), [0, 5, 1])
