import io

import numpy as np
import pytest
from PIL import Image

from models.media import Encoding, Limits, decode, encode, probe
from models.runner import Frames
from tests.models.media import making
from tests.models.media.making import all_frames, distance


def webp(frames, times=None, **options):
    times = np.arange(len(frames)) / 16 if times is None else np.asarray(times, float)
    parts = [Frames(np.stack([frame]), times[index : index + 1]) for index, frame in enumerate(frames)]
    return encode(iter(parts), Encoding(format="webp", **options))


def durations(data):
    with Image.open(io.BytesIO(data)) as picture:
        found = []
        for index in range(picture.n_frames):
            picture.seek(index)
            picture.load()
            found.append(picture.info["duration"])
        return found


def test_as_callers_know_it():
    data = webp(making.pictures(13), fps=16)
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, picture.n_frames, picture.info["loop"]) == ("WEBP", 13, 0)
        assert not picture.getexif()
    assert durations(data) == [62] * 13


@pytest.mark.parametrize(("fps", "milliseconds"), [(8, 125), (24, 41), (30, 33), (60, 16)])
def test_whole_milliseconds(fps, milliseconds):
    assert set(durations(webp(making.pictures(5), fps=fps))) == {milliseconds}


def test_times_are_kept_to_the_millisecond():
    data = webp(making.pictures(5), [0, 0.1, 0.15, 0.4, 0.45])
    assert durations(data)[:4] == [100, 50, 250, 50]
    assert all_frames(decode(data))[1] == pytest.approx([0, 0.1, 0.15, 0.4, 0.45])


def test_pixels_survive():
    frames = making.pictures(6, 128, 96)
    assert distance(all_frames(decode(webp(frames)))[0], np.stack(frames)) < 4


def test_odd_sizes_stay_as_they_are():
    data = webp(making.pictures(3, 65, 49))
    info = probe(data, "clip", Limits())
    assert (info.width, info.height, info.frames) == (65, 49, 3)


def test_frames_that_do_not_change_are_still_frames():
    assert durations(webp([making.picture(64, 48)] * 8, fps=16)) == [62] * 8


def test_other_readers_agree():
    frames = making.pictures(6, 165, 149)
    data = webp(frames, fps=16)
    with Image.open(io.BytesIO(data)) as picture:
        picture.seek(5)
        assert distance(np.asarray(picture.convert("RGB")), frames[5]) < 5
    assert int.from_bytes(data[4:8], "little") == len(data) - 8


def test_one_frame_is_a_still_picture():
    assert probe(webp(making.pictures(1)), "image", Limits()).kind == "image"


def test_quality_counts():
    noise = [np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8) for seed in range(3)]
    assert len(webp(noise, quality=20)) < 0.6 * len(webp(noise))
