import pytest

from models.errors import LoraRejected, TooLarge
from models.lora.header import read_header
from tests.models.lora.making import peft, raw, save

DOWN, UP = "transformer.x.lora_A.weight", "transformer.x.lora_B.weight"


def entry(shape, start, dtype="F32", size=None):
    end = start + (size if size is not None else 4 * shape[0] * (shape[1] if len(shape) > 1 else 1))
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


GOOD = {DOWN: entry([2, 3], 0), UP: entry([4, 2], 24)}
DATA = bytes(56)


def write(tmp_path, content):
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    return file


def test_a_sound_file_tells_its_rank_and_tensors(tmp_path):
    header = read_header(save(peft({"transformer.x": (8, 6)}, rank=3), tmp_path / "a.safetensors", {"format": "pt"}), 10_000)
    assert header.rank == 3
    assert header.tensors[DOWN].shape == (3, 6)
    assert header.metadata["format"] == "pt"
    assert read_header(write(tmp_path, raw(GOOD, DATA)), 10_000).rank == 2


def without(name):
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a safetensors"),
        (b"PK\x03\x04" + bytes(60), "not a safetensors"),
        (raw(GOOD, DATA, length=2**62), "announce"),
        (raw(GOOD, DATA, length=1), "announce"),
        (raw(b"{nonsense"), "JSON"),
        (raw(b"[" * 3_000), "JSON"),
        (raw(b"\xff\xfe\x00"), "JSON"),
        (raw(b"[1,2]"), "one JSON object"),
        (raw(b'{"a":1,"a":2}'), "twice"),
        (raw({"__metadata__": {"x": 1}}), "__metadata__"),
        (raw({DOWN: 5}), "data_offsets"),
        (raw({DOWN: entry([2, 3], 0) | {"more": 1}}, DATA), "data_offsets"),
        (raw(GOOD | {DOWN: entry([2, 3], 0, "I8", 6)}, DATA), "I8"),
        (raw(GOOD | {DOWN: entry([2, -3], 0)}, DATA), "shape"),
        (raw(GOOD | {DOWN: entry([2, True], 0)}, DATA), "shape"),
        (raw(GOOD | {DOWN: entry([2, 3], 0, size=20)}, DATA), "20 bytes"),
        (raw(GOOD | {UP: entry([4, 2], 8)}, DATA), "overlap"),
        (raw(GOOD | {UP: entry([4, 2], 32)}, DATA + bytes(8)), "gap"),
        (raw(GOOD, DATA + b"tail"), "cut or added"),
        (raw(GOOD, DATA[:-1]), "cut or added"),
        (raw({}), "no LoRA"),
        (raw({DOWN: entry([2, 3], 0)}, bytes(24)), "other half"),
        (raw({DOWN: entry([2, 3], 0), UP: entry([4, 3], 24)}, bytes(72)), "rank 2, its other half 3"),
        (raw({DOWN: entry([600, 1], 0), UP: entry([1, 600], 2400)}, bytes(4800)), "600"),
        (raw(GOOD | {"transformer.x.alpha": entry([2], 56)}, bytes(64)), "one number"),
        (raw(GOOD | {"transformer.x.dora_scale": entry([2], 56)}, bytes(64)), "DoRA"),
        (raw(GOOD | {"a.lokr_w1": entry([2], 56)}, bytes(64)), "LoKr"),
        (raw(GOOD | {"a.diff_b": entry([2], 56)}, bytes(64)), "full-weight"),
        (raw(GOOD | {"vae.conv.weight": entry([2], 56)}, bytes(64)), "no part of a LoRA"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_reason(tmp_path, content, says):
    with pytest.raises(LoraRejected, match=says):
        read_header(write(tmp_path, content), 10_000_000)


def test_a_file_over_the_limit_is_not_opened(tmp_path):
    with pytest.raises(TooLarge, match="limit"):
        read_header(write(tmp_path, raw(GOOD, DATA)), 20)
