import av
import pytest

from models.media import h264


def test_the_encoder_is_one_that_really_encodes():
    codec = h264.video_codec()
    assert codec in ("libx264", "h264_nvenc")
    assert h264.video_codec() is codec
    assert "libx264" in h264.codecs_for(832, 480)


def test_frames_too_small_for_the_card_go_to_x264(monkeypatch):
    monkeypatch.setattr(h264, "video_codec", lambda: "h264_nvenc")
    assert h264.codecs_for(832, 480) == ("h264_nvenc", "libx264")
    assert h264.codecs_for(64, 480) == ("libx264",)


@pytest.mark.skipif(h264.video_codec() == "h264_nvenc", reason="this machine's card has an encoder")
def test_a_card_whose_encoder_does_not_open_leaves_the_work_to_x264(monkeypatch):
    from models.media import mp4
    from tests.models.media import making
    from tests.models.media.test_mp4 import mp4 as written

    monkeypatch.setattr(mp4, "codecs_for", lambda width, height: ("h264_nvenc", "libx264"))
    with av.logging.Capture():
        data = written(making.pictures(3, 256, 256))
    assert making.boxes(data)[:2] == ["ftyp", "moov"]
