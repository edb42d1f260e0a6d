import numpy as np
import pytest

from models.faceswap.swapper import FaceSwapper
from models.faceswap.watermark import SURE, mark, marked
from models.media import Encoding, decode, encode
from models.runner import Call, Frames
from models.safety import SafetyRules
from models.task import SwapFaces
from models.weights import Loading


def with_mark(picture):
    frame = picture.copy()
    mark(frame)
    return frame


def again(frame, **encoding):
    return next(decode(encode(iter([Frames(frame[None], np.zeros(1))]), Encoding(**encoding)))).pixels[0]


def test_pictures_without_a_mark_have_none(astronaut, crowd):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    assert max(marked(picture) for picture in (astronaut, crowd, noise, np.zeros_like(noise))) < SURE
    assert marked(astronaut[:40, :40]) == 0


def test_a_mark_is_found_and_cannot_be_seen(astronaut, crowd):
    for picture in (astronaut, crowd):
        frame = with_mark(picture)
        assert marked(frame) > 1.5 * SURE
        assert np.abs(frame.astype(int) - picture).mean() < 2


@pytest.mark.parametrize("encoding", [{"format": "jpeg", "quality": 85}, {"format": "webp", "quality": 80}, {"format": "mp4", "crf": 23}])
def test_it_survives_other_encoders(crowd, encoding):
    assert marked(again(with_mark(crowd), **encoding)) > SURE


def test_it_survives_a_crop(crowd):
    assert marked(np.ascontiguousarray(with_mark(crowd)[37:500, 81:900])) > SURE


def test_only_frames_with_a_swapped_face_are_marked_and_only_where_asked(source, moving, chunks):
    wall = np.full_like(moving[:4], 120)
    for asked in (True, False):
        swapper = FaceSwapper(Loading({}, safety=SafetyRules(watermark=asked)))
        clip = np.concatenate([wall, moving[:4]])
        frames = np.concatenate([part.pixels for part in swapper.transform(SwapFaces(source=source), chunks(clip), Call())])
        swapper.close()
        np.testing.assert_array_equal(frames[:4], wall)
        assert [marked(frame) > SURE for frame in frames[4:]] == [asked] * 4
