import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from models.errors import BadMedia, BadRequest, TooLarge
from models.media import Encoding, Limits, decode, encode, probe, shots
from models.runner import Frames
from tests.models.media import making
from tests.models.media.making import all_frames, distance

CLOSE = 4  # steps of 1/255 that H.264 and half the colour resolution may cost these pictures


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "libx264"), ("mov", "libx264"), ("webm", "libvpx"), ("webm", "libvpx-vp9"), ("mp4", "libx265"), ("mp4", "libsvtav1")],
)
def test_clips_come_back(container, codec):
    frames = making.pictures(12, 128, 96)
    pixels, times = all_frames(decode(making.video(frames, container=container, codec=codec, options={"crf": "12"}), chunk=5))
    assert pixels.shape == (12, 96, 128, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(times - np.arange(12) / 16).max() < 0.001
    assert distance(pixels, np.stack(frames)) < CLOSE


def test_chunks_are_as_long_as_asked():
    data = making.video(making.pictures(11))
    assert [len(part.times_s) for part in decode(data, chunk=4)] == [4, 4, 3]
    assert all(part.pixels.flags.c_contiguous for part in decode(data, chunk=4))


def test_large_frames_come_in_shorter_chunks(monkeypatch):
    monkeypatch.setattr(shots, "_MOST_BYTES", 3 * 64 * 48 * 3)
    assert [len(part.times_s) for part in decode(making.video(making.pictures(8)), chunk=5)] == [3, 3, 2]


@pytest.mark.parametrize("size", [(165, 149), (164, 149), (137, 80), (853, 480)])
def test_odd_sizes(size):
    frames = making.pictures(3, *size)
    pixels, _ = all_frames(decode(making.video(frames, container="webm", codec="libvpx-vp9", options={"crf": "10", "b": "0"})))
    assert pixels.shape[1:3] == (size[1], size[0])
    assert distance(pixels, np.stack(frames)) < CLOSE


@pytest.mark.parametrize("counter_clockwise", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_frames_are_turned_as_they_are_shown(counter_clockwise, mirror):
    frames = making.pictures(2, 128, 96)
    pixels, _ = all_frames(decode(making.video(frames, rotate=counter_clockwise, mirror=mirror)))
    shown = np.rot90(np.stack(frames), counter_clockwise // 90, (1, 2))
    assert distance(pixels, shown[:, :, ::-1] if mirror else shown) < CLOSE


@pytest.mark.parametrize("matrix", [1, 5], ids=["BT.709", "BT.601"])
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_follow_the_matrix_and_range_of_the_clip(matrix, full_range):
    frames = making.pictures(2, 128, 96)
    pixels, _ = all_frames(decode(making.video(frames, matrix=matrix, full_range=full_range, options={"crf": "5"})))
    patches = pixels[0, 12::24, 16::32].astype(int), frames[0][12::24, 16::32].astype(int)
    assert np.abs(patches[0] - patches[1]).max() <= 3


def test_ten_bits():
    frames = making.pictures(6, 128, 96)
    pixels, _ = all_frames(decode(making.video(frames, codec="libx265", pix="yuv420p10le", options={"crf": "5"})))
    assert distance(pixels, np.stack(frames)) < CLOSE


def test_varying_times_are_kept():
    times = [0, 0.1, 0.15, 0.4, 0.45, 0.8]
    pixels, shown = all_frames(decode(making.video(making.pictures(6), times=times)))
    assert len(pixels) == 6
    assert shown == pytest.approx(times, abs=1e-4)


def test_varying_times_on_a_grid_show_what_was_on_screen():
    times = [0, 0.1, 0.15, 0.4, 0.45, 0.8]
    frames = making.pictures(6, 128, 96)
    data = making.video(frames, times=times, options={"crf": "5"})
    pixels, shown = all_frames(decode(data, fps=10, chunk=3))
    assert shown == pytest.approx(np.arange(len(shown)) / 10)
    expected = [0, 1, 2, 2, 3, 4, 4, 4, 5]
    assert len(shown) in (9, 10, 11, 12)  # the last frame stays as long as the clip says
    assert [int(np.argmin([distance(frame, known) for known in frames])) for frame in pixels[:9]] == expected


@pytest.mark.parametrize("container", ["mp4", "webm"])
@pytest.mark.parametrize(("fps", "count"), [(30, 60), (60, 120), (15, 30), (12, 24), (24, 48)])
def test_a_new_rate_keeps_the_length(container, fps, count):
    data = making.video(making.pictures(60), fps=30, container=container, codec="libx264" if container == "mp4" else "libvpx")
    pixels, times = all_frames(decode(data, fps=fps))
    assert len(pixels) == len(times) == count
    assert times == pytest.approx(np.arange(count) / fps)


def test_the_same_rate_changes_nothing():
    for container, codec in (("mp4", "libx264"), ("webm", "libvpx")):
        data = making.video(making.pictures(30), fps=30, container=container, codec=codec)
        assert np.array_equal(all_frames(decode(data, fps=30))[0], all_frames(decode(data))[0])


def test_a_picture_that_starts_after_the_sound():
    data = making.video(making.pictures(8), audio="aac", late_s=0.25)
    assert all_frames(decode(data))[1] == pytest.approx(0.25 + np.arange(8) / 16, abs=0.03)
    _, times = all_frames(decode(data, fps=16))
    assert times[0] == 0
    assert len(times) == 12


@pytest.mark.parametrize("format", ["WEBP", "GIF"])
def test_animations_keep_every_frame(format):
    frames = making.pictures(5)
    data = making.animation(frames, [100, 50, 200, 100, 70], format)
    pixels, times = all_frames(decode(data, chunk=2))
    assert times == pytest.approx([0, 0.1, 0.15, 0.35, 0.45])
    assert np.array_equal(pixels, np.stack(frames))
    pixels, times = all_frames(decode(data, fps=16))
    assert times == pytest.approx(np.arange(5) / 16)
    assert np.array_equal(pixels, np.stack(frames))


def test_transparent_animations_are_laid_on_white():
    clear = Image.new("RGBA", (32, 16), (0, 0, 0, 0))
    dot = Image.new("RGBA", (32, 16), (0, 0, 0, 0))
    dot.paste((200, 40, 40, 255), (4, 4, 12, 12))
    out = io.BytesIO()
    dot.save(out, "WEBP", save_all=True, append_images=[clear, dot], duration=100, lossless=True)
    pixels, _ = all_frames(decode(out.getvalue()))
    assert (pixels[1] == 255).all()
    assert pixels[0, 8, 8].tolist() == pixels[2, 8, 8].tolist() == [200, 40, 40]
    assert (pixels[0, 0] == 255).all()


def test_a_still_picture_is_one_frame():
    for format in ("PNG", "WEBP", "GIF"):
        out = io.BytesIO()
        Image.fromarray(making.picture(32, 16)).save(out, format, **({"lossless": True} if format == "WEBP" else {}))
        (part,) = decode(out.getvalue(), fps=24)
        assert np.array_equal(part.pixels[0], making.picture(32, 16))
        assert part.times_s.tolist() == [0.0]


NOISE = [np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8) for seed in range(40)]
CUT = {
    "mp4": encode(iter([Frames(np.stack(NOISE), np.arange(40) / 16)]), Encoding(format="mp4")),
    "webm": making.video(NOISE, container="webm", codec="libvpx-vp9", options={"deadline": "realtime"}),
    "webm with sound": making.video(NOISE, container="webm", codec="libvpx", audio="libopus"),
    "mp4 with sound": encode(
        iter([Frames(np.stack(NOISE), np.arange(40) / 16)]), Encoding(format="mp4", audio=making.video(NOISE, audio="aac"))
    ),
    "fragmented mp4": making.video(NOISE, mux={"movflags": "+frag_keyframe+empty_moov"}, options={"g": "10"}),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_clip_that_is_cut_short_is_not_taken_for_whole(kind):
    data = CUT[kind]
    assert len(all_frames(decode(data))[0]) == 40
    for part in (0.9, 0.6):
        with pytest.raises(BadMedia, match=r"cut short|corrupt"):
            all_frames(decode(data[: int(len(data) * part)]))


@pytest.mark.parametrize("kind", ["mp4", "webm", "mp4 with sound"])
def test_one_missing_packet_at_the_end_is_let_pass(kind):
    assert len(all_frames(decode(CUT[kind][:-300]))[0]) >= 39


def test_damage_in_the_middle_is_an_error():
    data = bytearray(CUT["mp4"])
    middle = len(data) // 2
    data[middle : middle + 20_000] = bytes(20_000)
    with pytest.raises(BadMedia, match="corrupt"):
        all_frames(decode(bytes(data)))


def test_frames_before_the_damage_arrive():
    parts = []
    with pytest.raises(BadMedia, match="cut short"):
        parts.extend(decode(CUT["mp4"][: len(CUT["mp4"]) // 2]))
    assert sum(len(part.times_s) for part in parts) >= 8


def test_a_cut_animation():
    data = making.animation(making.pictures(6), 100)
    with pytest.raises(BadMedia, match="cut short"):
        all_frames(decode(data[: len(data) // 2]))


def test_limits_hold_while_decoding():
    data = making.video(making.pictures(40), container="webm", codec="libvpx", mux={"live": "1"})
    assert probe(data, "clip", Limits()).seconds is None
    with pytest.raises(TooLarge, match="frames"):
        all_frames(decode(data, limits=Limits(max_frames=30)))
    with pytest.raises(TooLarge, match="seconds"):
        all_frames(decode(data, limits=Limits(max_seconds=1)))
    with pytest.raises(TooLarge, match="frames"):
        all_frames(decode(data, fps=960, limits=Limits(max_frames=1000)))
    with pytest.raises(TooLarge, match="64x48"):
        all_frames(decode(data, limits=Limits(max_pixels=1000)))
    with pytest.raises(TooLarge, match="bytes"):
        decode(data, limits=Limits(max_bytes=100))


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none(fps):
    with pytest.raises(BadRequest, match="fps must be above 0"):
        decode(making.video(making.pictures(2)), fps=fps)


@pytest.mark.parametrize("data", [b"", b"text", b"#EXTM3U\nhttp://127.0.0.1/a.ts"])
def test_what_is_no_media(data):
    with pytest.raises(BadMedia, match="send MP4"):
        all_frames(decode(data))


def test_memory_does_not_grow_with_the_clip():
    data = making.video(making.pictures(120, 320, 240), options={"preset": "ultrafast"})
    tracemalloc.start()
    for _ in decode(data, chunk=4):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 320 * 240 * 3


def test_leaving_early_is_clean():
    frames = decode(making.video(making.pictures(30)), chunk=2)
    next(frames)
    frames.close()
