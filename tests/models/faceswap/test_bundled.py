import numpy as np
import pytest

from models.errors import WeightsMissing
from models.faceswap import bundled


@pytest.mark.parametrize("damage", ["absent", "changed"])
def test_refuses_a_network_that_is_not_the_published_one(monkeypatch, tmp_path, damage):
    if damage == "changed":
        data = bytearray((bundled._FOLDER / "mesh.onnx").read_bytes())
        data[-100] ^= 1
        (tmp_path / "mesh.onnx").write_bytes(data)
    monkeypatch.setattr(bundled, "_FOLDER", tmp_path)
    with pytest.raises(WeightsMissing, match=r"mesh\.onnx is absent or not the published file"):
        bundled.session("mesh")


def test_mirror_pairs_landmarks_across_the_face():
    mirror = bundled.topology("mirror")
    assert (mirror[mirror] == np.arange(468)).all()
    assert mirror[33] == 263  # outer corners of the eyes
    assert mirror[61] == 291  # corners of the mouth
    assert mirror[1] == 1  # tip of the nose
    assert set(mirror[bundled.topology("right_eye")]) == set(bundled.topology("left_eye"))


def test_every_landmark_is_in_the_mesh():
    assert set(bundled.topology("triangles").ravel()) == set(range(468))
