import gc
import threading
import time
import weakref

import numpy as np
import pytest

from models.errors import BadMedia, BadRequest, Cancelled
from models.media import Encoding, Limits, content_type, encode, probe, read_image, sniff
from models.runner import Call, Frames
from tests.models.media import making
from tests.models.media.making import distance


def chunks(frames, fps=16, size=4):
    for start in range(0, len(frames), size):
        part = frames[start : start + size]
        yield Frames(np.stack(part), (start + np.arange(len(part))) / fps)


@pytest.mark.parametrize("format", ["mp4", "webp", "png", "jpeg"])
def test_one_frame_in_every_format(format):
    picture = making.picture(64, 48)
    media = encode(chunks([picture]), Encoding(format=format))
    assert sniff(media) == content_type(format)
    if format == "mp4":
        assert probe(media, "clip", Limits()).frames == 1
    else:
        assert distance(read_image(media, "image", Limits()), picture) < 3


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_a_clip_is_no_picture(format):
    with pytest.raises(BadMedia, match=f"{format} holds one picture.*ask for mp4"):
        encode(chunks(making.pictures(2)), Encoding(format=format))


@pytest.mark.parametrize("numbers", [{"fps": 0}, {"fps": float("nan")}, {"quality": 0}, {"crf": 52}])
def test_numbers_that_no_encoder_takes(numbers):
    with pytest.raises(BadRequest, match=f"^{next(iter(numbers))} must be"):
        Encoding(format="mp4", **numbers)


@pytest.mark.parametrize("format", ["mp4", "webp", "png"])
def test_nothing_to_encode(format):
    with pytest.raises(BadMedia, match="no frames"):
        encode(iter(()), Encoding(format=format))


def test_the_call_learns_the_encoder_and_the_time_without_the_wait():
    def slow():
        for part in chunks(making.pictures(8)):
            time.sleep(0.2)
            yield part

    call = Call()
    encode(slow(), Encoding(format="mp4"), call)
    assert call.facts["video_codec"] in ("libx264", "h264_nvenc")
    assert 0 < call.seconds["encode"] < 0.4


@pytest.mark.parametrize("format", ["mp4", "webp"])
def test_a_cancelled_call_stops_at_the_next_chunk(format):
    call = Call()
    asked = 0

    def endless():
        nonlocal asked
        for part in chunks(making.pictures(100), size=1):
            asked += 1
            if asked == 3:
                call.cancel()
            yield part

    with pytest.raises(Cancelled):
        encode(endless(), Encoding(format=format), call)
    assert asked == 3
    assert "encode" in call.seconds


@pytest.mark.parametrize("format", ["mp4", "webp"])
def test_errors_of_the_source_pass_through(format):
    def failing():
        yield from chunks(making.pictures(6))
        raise BadMedia("the clip is cut short")

    with pytest.raises(BadMedia, match="cut short"):
        encode(failing(), Encoding(format=format))
    gc.collect()


@pytest.mark.parametrize("format", ["mp4", "webp"])
def test_chunks_are_let_go(format):
    alive: list[weakref.ref] = []

    def watched():
        for part in chunks(making.pictures(120)):
            assert sum(ref() is not None for ref in alive) <= 8
            pixels = part.pixels.copy()
            alive.append(weakref.ref(pixels))
            yield Frames(pixels, part.times_s)
            del part, pixels

    encode(watched(), Encoding(format=format))
    assert len(alive) == 30


def test_two_at_once_give_the_same_as_one_after_the_other():
    clips = [[making.picture(128, 96, shift + 2 * index) for index in range(12)] for shift in (0, 30)]
    alone = [encode(chunks(frames), Encoding(format="mp4")) for frames in clips]
    together = [b"", b""]

    def work(index):
        together[index] = encode(chunks(clips[index]), Encoding(format="mp4"))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
