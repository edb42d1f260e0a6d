import io

import av
import numpy as np
import pytest

from models.media import Encoding, Limits, decode, encode, probe
from models.runner import Frames
from tests.models.media import making
from tests.models.media.making import all_frames, distance


def mp4(frames, times=None, **options):
    times = np.arange(len(frames)) / 16 if times is None else np.asarray(times, float)
    return encode(iter([Frames(np.stack(frames), times)]), Encoding(format="mp4", **options))


def test_every_player_can_play_it():
    data = mp4(making.pictures(20), fps=16)
    assert making.boxes(data) == ["ftyp", "moov", "free", "mdat"]
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, stream.profile, context.pix_fmt) == ("h264", "High", "yuv420p")
        assert (context.color_range, context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1, 1)
        assert stream.average_rate == stream.base_rate == 16
        assert stream.frames == 20
        assert container.duration == 20 * 1_000_000 // 16
        assert float(stream.duration * stream.time_base) == pytest.approx(20 / 16, abs=0.001)
        assert not {"comment", "title", "prompt"} & set(container.metadata)


@pytest.mark.parametrize("size", [(832, 480), (480, 832), (1280, 720), (64, 48)])
def test_flat_colours_survive(size):
    colours = [(200, 40, 40), (40, 180, 60), (50, 70, 210), (230, 230, 225), (25, 25, 30), (210, 160, 125), (0, 0, 0), (255, 255, 255)]
    frames = [np.broadcast_to(np.uint8(colour), (size[1], size[0], 3)) for colour in colours]
    pixels, _ = all_frames(decode(mp4(frames)))
    for shown, colour in zip(pixels, colours, strict=True):
        assert np.abs(shown.reshape(-1, 3).mean(0) - colour).max() < 2


def test_a_photo_survives():
    astronaut = pytest.importorskip("skimage.data").astronaut()
    pixels, _ = all_frames(decode(mp4([astronaut] * 3)))
    assert distance(pixels[1], astronaut) < 3
    assert abs(float(pixels[1].mean()) - float(astronaut.mean())) < 0.3  # no pass makes it darker


@pytest.mark.parametrize("size", [(165, 149), (164, 149), (165, 148), (1, 1)])
def test_odd_sides_grow_by_one_pixel(size):
    frames = [making.picture(*size)] * 2
    data = mp4(frames)
    info = probe(data, "clip", Limits())
    assert (info.width, info.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    pixels, _ = all_frames(decode(data))
    assert distance(pixels[0, : size[1], : size[0]], frames[0]) < 4


@pytest.mark.parametrize("fps", [8, 16, 23.976, 24, 25, 29.97, 30, 60])
def test_rate_and_length(fps):
    frames = making.pictures(33)
    for data in (mp4(frames, fps=fps), mp4(frames, np.arange(33) / fps)):
        info = probe(data, "clip", Limits())
        assert info.fps == pytest.approx(fps, rel=1e-3)
        assert info.seconds == pytest.approx(33 / fps, abs=0.5 / fps)
        assert not info.variable_rate
        assert all_frames(decode(data))[1] == pytest.approx(np.arange(33) / fps, abs=1e-3)


def test_varying_times_are_kept():
    times = [0, 0.1, 0.15, 0.4, 0.45, 0.8, 1.7]
    data = mp4(making.pictures(7), times)
    assert probe(data, "clip", Limits()).variable_rate
    assert probe(data, "clip", Limits()).seconds == pytest.approx(2.6, abs=0.01)
    assert all_frames(decode(data))[1] == pytest.approx(times, abs=1e-4)


def test_fps_wins_over_times():
    data = mp4(making.pictures(8), np.arange(8) * 0.5, fps=16)
    assert all_frames(decode(data))[1] == pytest.approx(np.arange(8) / 16, abs=1e-4)


def test_times_that_do_not_rise_are_put_right():
    assert len(all_frames(decode(mp4(making.pictures(4), [0, 0.1, 0.1, 0.05])))[0]) == 4


def test_crf_and_preset_count():
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(6)]
    assert len(mp4(frames, crf=35)) < 0.6 * len(mp4(frames, crf=18))


def test_a_turned_clip_comes_out_upright():
    frames = making.pictures(3, 128, 96)
    data = making.video(frames, rotate=90)
    again = encode(decode(data), Encoding(format="mp4"))
    info = probe(again, "clip", Limits())
    assert (info.width, info.height, info.rotation) == (96, 128, 0)
    assert distance(all_frames(decode(again))[0], np.rot90(np.stack(frames), 1, (1, 2))) < 5
