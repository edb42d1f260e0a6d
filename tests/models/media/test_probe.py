import numpy as np
import pytest

from models.errors import BadMedia, TooLarge
from models.media import ClipInfo, Limits, probe
from tests.models.media import making

LIMITS = Limits()


def test_mp4_with_sound():
    info = probe(making.video(making.pictures(16), audio="aac"), "clip", LIMITS)
    assert (info.kind, info.width, info.height, info.frames, info.fps) == ("video", 64, 48, 16, 16.0)
    assert info.seconds == pytest.approx(1.0, abs=0.05)
    assert (info.has_audio, info.rotation, info.variable_rate) == (True, 0, False)


def test_webm_does_not_know_its_frames():
    info = probe(making.video(making.pictures(16), container="webm", codec="libvpx-vp9", audio="libopus"), "clip", LIMITS)
    assert (info.kind, info.width, info.height, info.frames, info.fps, info.has_audio) == ("video", 64, 48, None, 16.0, True)
    assert info.seconds == pytest.approx(1.0, abs=0.05)


def test_a_recording_that_never_learnt_its_length():
    data = making.video(making.pictures(8), container="webm", codec="libvpx", mux={"live": "1"})
    assert probe(data, "clip", LIMITS).seconds is None


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "mpeg4"])
def test_codecs_that_are_accepted(codec):
    assert probe(making.video(making.pictures(2, 128, 96), codec=codec), "clip", LIMITS).kind == "video"


def test_varying_times_are_told():
    times = [0, 0.1, 0.15, 0.4, 0.45, 0.8]
    assert probe(making.video(making.pictures(6), times=times), "clip", LIMITS).variable_rate
    assert not probe(making.video(making.pictures(6), fps=30), "clip", LIMITS).variable_rate


@pytest.mark.parametrize(("counter_clockwise", "clockwise"), [(0, 0), (90, 270), (180, 180), (270, 90)])
def test_size_and_rotation_are_as_shown(counter_clockwise, clockwise):
    info = probe(making.video(making.pictures(2), rotate=counter_clockwise), "clip", LIMITS)
    assert info.rotation == clockwise
    assert (info.width, info.height) == ((48, 64) if clockwise % 180 else (64, 48))


def test_pixels_that_are_not_square_are_made_so():
    data = making.video(making.pictures(2), sample_aspect=2)
    info = probe(data, "clip", LIMITS)
    assert (info.width, info.height) == (128, 48)


@pytest.mark.parametrize("format", ["WEBP", "GIF"])
def test_animations(format):
    info = probe(making.animation(making.pictures(5), [100, 100, 100, 100, 100], format), "clip", LIMITS)
    assert info == ClipInfo("animation", 64, 48, 5, 0.5, 10.0)
    assert probe(making.animation(making.pictures(3), [50, 200, 50], format), "clip", LIMITS).variable_rate


def test_frames_that_are_too_fast_are_shown_as_browsers_show_them():
    assert probe(making.animation(making.pictures(5), 0, "GIF"), "clip", LIMITS).seconds == 0.5


def test_a_picture_is_a_clip_of_one_frame():
    assert probe(making.animation(making.pictures(1), 0), "clip", LIMITS) == ClipInfo("image", 64, 48, 1, None, None)


def test_ten_minutes_are_too_long():
    data = making.video(making.pictures(600, 16, 16), fps=1, options={"preset": "ultrafast"})
    with pytest.raises(TooLarge, match=r"^source_video is 600.0 seconds long; at most 120 are accepted"):
        probe(data, "source_video", LIMITS)
    assert probe(data, "source_video", Limits(max_seconds=600)).frames == 600


def test_too_many_frames():
    data = making.video(making.pictures(40))
    with pytest.raises(TooLarge, match=r"^source_video has 40 frames.*at most 20 are"):
        probe(data, "source_video", Limits(max_frames=20))


def test_too_many_frames_in_an_animation():
    with pytest.raises(TooLarge, match="frames"):
        probe(making.animation(making.pictures(6), 100), "clip", Limits(max_frames=5))
    with pytest.raises(TooLarge, match=r"60\.0 seconds"):
        probe(making.animation(making.pictures(6), 10_000, "GIF"), "clip", Limits(max_seconds=30))


@pytest.mark.parametrize(("container", "codec"), [("mp4", "libx264"), ("mp4", "libsvtav1"), ("webm", "libvpx-vp9")])
@pytest.mark.parametrize("limit", [10_000, 1_000])  # a little over, and more than a reader is let allocate
def test_frames_that_are_too_large(container, codec, limit):
    data = making.video(making.pictures(2, 128, 96), container=container, codec=codec)
    with pytest.raises(TooLarge, match="128x96"):
        probe(data, "clip", Limits(max_pixels=limit))


def test_a_clip_without_pictures():
    with pytest.raises(BadMedia, match=r"^clip has no video in it; send a clip with pictures"):
        probe(making.sound_only(), "clip", LIMITS)


def test_a_codec_that_is_not_accepted():
    data = making.video(making.pictures(2), container="matroska", codec="ffv1", pix="yuv420p")
    with pytest.raises(BadMedia, match=r"coded as ffv1, which is not accepted; send H\.264"):
        probe(data, "clip", LIMITS)


@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_only_the_start_of_a_clip(container):
    data = making.video(making.pictures(16), container=container, codec="libx264" if container == "mp4" else "libvpx")
    with pytest.raises(BadMedia, match=r"^source_video .*send the whole"):
        probe(data[:60], "source_video", LIMITS)


def test_noise_behind_a_good_start():
    noise = np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes()
    for start in (
        b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
        b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fwebm",
        b"GIF89a",
        b"RIFF\x88\x13\0\0WEBPVP8X",
    ):
        with pytest.raises((BadMedia, TooLarge)):
            probe(start + noise, "source_video", LIMITS)
