import av
import numpy as np
import pytest
import torch

from models.faceswap.arc import yuv

FORMATS = {"bt601": av.video.reformatter.Colorspace.ITU601, "bt709": av.video.reformatter.Colorspace.ITU709}


@pytest.fixture
def picture() -> np.ndarray:
    """Smooth colours in all directions, 64 by 96."""
    y, x = np.mgrid[0:64, 0:96] / np.array([64, 96])[:, None, None]
    return (np.stack([x, y, 1 - x * y], axis=-1) * 255).astype(np.uint8)


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_equals_ffmpeg(picture: np.ndarray, matrix: str) -> None:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    theirs = frame.reformat(format="yuv420p", dst_colorspace=FORMATS[matrix], dst_color_range="MPEG")
    ours = yuv.from_rgb(torch.from_numpy(picture)[None], matrix)[0].numpy()
    planes = theirs.to_ndarray()
    assert np.abs(ours.astype(int) - planes).max() <= 2
    back = theirs.reformat(format="rgb24", src_colorspace=FORMATS[matrix], src_color_range="MPEG").to_ndarray()
    ours_back = yuv.to_rgb(torch.from_numpy(planes)[None], matrix)[0].numpy()
    assert np.abs(ours_back.astype(int) - back).max() <= 10
    assert np.abs(ours_back.astype(int) - picture).mean() < np.abs(back.astype(int) - picture).mean()


def test_there_and_back(picture: np.ndarray) -> None:
    frames = torch.from_numpy(picture)[None]
    difference = (yuv.to_rgb(yuv.from_rgb(frames)).float() - frames.float()).abs()
    assert difference.max() <= 8
    assert difference.mean() < 0.6


def test_black_and_white_are_limited_range() -> None:
    frames = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 4, 4, 3)
    planes = yuv.from_rgb(frames)
    assert planes[0, :4].unique().tolist() == [16]
    assert planes[1, :4].unique().tolist() == [235]
    assert planes[:, 4:].unique().tolist() == [128]
    assert torch.equal(yuv.to_rgb(planes), frames)
