import random

import pytest

from models.errors import RylaError
from models.media import Encoding, Limits, decode, encode, probe, read_image, sniff
from tests.models.media import making

LIMITS = Limits(max_bytes=5_000_000, max_pixels=500_000, max_frames=200, max_seconds=20)
FRAMES = making.pictures(6, 64, 48)
WHOLE = {
    "mp4": lambda: making.video(FRAMES, audio="aac"),
    "mov": lambda: making.video(FRAMES, container="mov", audio="pcm_s16le", rotate=90),
    "fragmented mp4": lambda: making.video(FRAMES, mux={"movflags": "+frag_keyframe+empty_moov"}),
    "webm": lambda: making.video(FRAMES, container="webm", codec="libvpx-vp9", audio="libopus"),
    "webp": lambda: making.animation(FRAMES, 100),
    "gif": lambda: making.animation(FRAMES, 100, "GIF"),
    "png": lambda: encode(decode(making.animation(FRAMES[:1], 0)), Encoding(format="png")),
    "jpeg": lambda: encode(decode(making.animation(FRAMES[:1], 0)), Encoding(format="jpeg")),
}


def damaged(data, rng):
    """Cut, shortened, lengthened or with some bytes changed, mostly in the header."""
    at = rng.randrange(len(data))
    match rng.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[at + rng.randrange(1, 200) :]
        case 2:
            return data[:at] + rng.randbytes(rng.randrange(1, 64)) + data[at:]
        case kind:
            changed = bytearray(data)
            for _ in range(rng.choice([1, 2, 8])):
                changed[rng.randrange(min(len(data), 600) if kind < 5 else len(data))] = rng.choice([0, 127, 128, 255, rng.randrange(256)])
            return bytes(changed)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.*")
@pytest.mark.parametrize("kind", WHOLE)
def test_damage_gives_frames_or_one_of_our_errors(kind):
    whole, rng = WHOLE[kind](), random.Random(kind)
    messages: list[str] = []
    for _ in range(40):
        data = damaged(whole, rng)
        is_clip = (sniff(data) or "").startswith("video/")
        for use in (probe, read_image, _decode_all, _encode_again):
            if use is _encode_again and not is_clip:
                continue
            try:
                use(data, "file", LIMITS)
            except RylaError as error:
                messages.append(error.message)
    assert len(messages) > 10
    assert max(map(len, messages)) < 400
    assert probe(whole, "file", LIMITS)


def _decode_all(data, _field, limits):
    for part in decode(data, limits=limits):
        assert part.pixels.shape[3] == 3


def _encode_again(data, _field, limits):
    encode(decode(data, limits=limits), Encoding(format="mp4", audio=data))
