import io

import av
import numpy as np
import pytest

from models.errors import BadMedia
from models.media import Encoding, Limits, decode, encode, probe
from models.runner import Frames
from tests.models.media import making
from tests.models.media.making import sound_packets


def again(source, **options):
    """The clip `source` decoded and encoded, with its sound."""
    return encode(decode(source), Encoding(format="mp4", audio=source, **options))


@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "aac"), ("mov", "aac"), ("mp4", "libmp3lame"), ("mp4", "ac3"), ("matroska", "aac")]
)
def test_packets_are_copied_bit_by_bit(container, codec):
    source = making.video(making.pictures(32), container=container, audio=codec)
    name, packets = sound_packets(source)
    name_again, packets_again = sound_packets(again(source))
    assert name_again == name
    assert [data for _, data in packets_again] == [data for _, data in packets]
    assert [time for time, _ in packets_again] == pytest.approx([time for time, _ in packets], abs=0.002)


def test_copied_sound_decodes_to_the_same_samples():
    source = making.video(making.pictures(32), audio="aac")
    assert np.array_equal(samples(source), samples(again(source)))


def samples(data):
    with av.open(io.BytesIO(data)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


@pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("matroska", "flac"), ("mov", "pcm_s16le")])
def test_other_sound_becomes_aac_of_the_same_length(container, codec):
    video = "libvpx" if container == "webm" else "libx264"
    source = making.video(making.pictures(32), container=container, codec=video, audio=codec)
    data = again(source)
    assert sound_packets(data)[0] == "aac"
    heard, before = samples(data)[0], samples(source)
    before = (before.reshape(-1, 2).T if len(before) == 1 else before)[0].astype(float)
    before /= 32768 if codec == "pcm_s16le" or codec == "flac" else 1
    assert abs(len(heard) - len(before)) < 2048
    assert loudness(heard) == pytest.approx(loudness(before), rel=0.05)
    assert shift_s(heard, before) < 0.005


def loudness(wave):
    return float(np.sqrt(np.mean(wave[4800:-4800].astype(float) ** 2)))


def shift_s(a, b):
    """How far the start of a tone is apart in two waves."""
    return abs(int(np.argmax(np.abs(a) > 0.1)) - int(np.argmax(np.abs(b) > 0.1))) / 48_000


@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_picture_that_starts_late_stays_in_time_with_the_sound(container):
    codecs = {"codec": "libx264", "audio": "aac"} if container == "mp4" else {"codec": "libvpx", "audio": "libopus"}
    source = making.video(making.pictures(16), container=container, late_s=0.3, audio_s=1.3, **codecs)
    data = again(source)
    assert first_picture_s(data) - first_sound_s(data) == pytest.approx(first_picture_s(source) - first_sound_s(source), abs=0.03)


def first_picture_s(data):
    with av.open(io.BytesIO(data)) as container:
        return next(container.decode(video=0)).time


def first_sound_s(data):
    with av.open(io.BytesIO(data)) as container:
        return next(frame.time for frame in container.decode(audio=0) if np.abs(frame.to_ndarray()).max() > 0.1)


def test_sound_that_outlasts_the_picture_is_kept_beside_the_whole_clip():
    source = making.video(making.pictures(16), audio="aac", audio_s=2.0)
    assert sound_packets(again(source))[1][-1][1] == sound_packets(source)[1][-1][1]
    assert probe(again(source), "clip", Limits()).seconds == pytest.approx(probe(source, "clip", Limits()).seconds, abs=1 / 16)


def test_sound_ends_with_the_picture_when_frames_were_left_out():
    source = making.video(making.pictures(32), audio="aac")
    short = encode(iter([Frames(np.stack(making.pictures(8)), np.arange(8) / 16)]), Encoding(format="mp4", audio=source))
    _, packets = sound_packets(short)
    assert packets[-1][0] < 0.5 <= packets[-1][0] + 0.03
    assert [data for _, data in packets] == [data for _, data in sound_packets(source)[1]][: len(packets)]


def test_sound_and_picture_are_interleaved():
    source = making.video(making.pictures(160), audio="aac")
    with av.open(io.BytesIO(again(source))) as container:
        order = [packet.stream.type for packet in sorted(container.demux(), key=lambda packet: packet.pos or 0) if packet.size]
    first_half = order[: len(order) // 2]
    assert 0.3 < first_half.count("audio") / order.count("audio") < 0.7


def test_a_clip_without_sound_gives_a_clip_without_sound():
    assert not probe(again(making.video(making.pictures(4))), "clip", Limits()).has_audio


def test_formats_without_sound_leave_it_out():
    source = making.video(making.pictures(4), audio="aac")
    assert probe(encode(decode(source), Encoding(format="webp", audio=source)), "clip", Limits()).kind == "animation"


def test_mono_and_low_rates():
    source = making.video(making.pictures(16), container="matroska", audio="pcm_s16le")
    assert sound_packets(again(source))[0] == "aac"


def test_sound_from_something_that_is_no_clip():
    with pytest.raises(BadMedia, match="the clip with the sound"):
        encode(iter([Frames(np.stack(making.pictures(2)), np.arange(2) / 16)]), Encoding(format="mp4", audio=b"#EXTM3U"))
