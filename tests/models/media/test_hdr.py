import numpy as np
import pytest

from models.media import decode, hdr
from tests.models.media import making
from tests.models.media.making import all_frames, distance

HLG, PQ = 18, 16


def graded(pixels, transfer):
    """BT.709 pixels as an HDR grade of the same scene with white at 203 nits, by the formulas of BT.2100 (the other way round)."""
    to_bt2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    nits = 203 * ((pixels / 255) ** 2.2 @ to_bt2020.T)
    if transfer == PQ:
        light = (nits / 10_000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * light) / (1 + 18.6875 * light)) ** 78.84375
    screen = nits / 1000
    scene = screen * np.maximum(screen @ [[0.2627], [0.6780], [0.0593]], 1e-9) ** (1 / 1.2 - 1)
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073)


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_the_standard_range_comes_back(transfer):
    levels = np.linspace(0, 190, 12)
    scene = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(48, 36, 3)
    signal = np.round(graded(scene, transfer) * 255).astype(np.uint8)
    assert np.abs(hdr.to_sdr(signal, transfer) - scene).mean() < 2.5


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_highlights_are_squeezed_and_keep_their_order(transfer):
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    shown = hdr.to_sdr(ramp, transfer)[0, :, 1].astype(int)
    assert (np.diff(shown) >= -1).all()
    assert shown[0] == 0
    assert shown[-1] >= 253
    white = int(graded(np.full((1, 3), 255.0), transfer)[0, 0] * 255)
    assert 195 < shown[white] < 245  # room is left for what is brighter than white


def test_a_clip_tagged_hlg_is_converted():
    scene = [np.minimum(frame, 190) for frame in making.pictures(4, 128, 96)]
    frames = [np.round(graded(frame, HLG) * 255).astype(np.uint8) for frame in scene]
    data = making.video(frames, codec="libx265", pix="yuv420p10le", matrix=9, transfer=HLG, options={"crf": "5"})
    assert distance(all_frames(decode(data))[0], np.stack(scene)) < 5
    plain = making.video(frames, codec="libx265", pix="yuv420p10le", matrix=9, options={"crf": "5"})
    assert distance(all_frames(decode(plain))[0], np.stack(frames)) < 5
