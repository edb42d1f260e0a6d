import random

import torch

from tools.tiny_weights import words
from tools.tiny_weights.camera import MOVES


def test_every_word_has_a_token_of_its_own_whatever_its_case() -> None:
    tokenizer = words.tokenizer()
    ids = tokenizer("Zoom in, pan LEFT")["input_ids"]
    assert len(set(ids)) == len(ids) == 6  # five pieces and the end
    assert tokenizer("zoom")["input_ids"] == tokenizer("ZOOM")["input_ids"]
    assert tokenizer("qwertz")["input_ids"][0] == tokenizer.unk_token_id


def test_the_encoder_is_always_the_same_and_hears_neighbours() -> None:
    first, second = words.Reader(torch.device("cpu")), words.Reader(torch.device("cpu"))
    texts = ["zoom in", "zoom out", ""]
    assert torch.equal(first.read(texts), second.read(texts))
    read = first.read(texts)
    assert (read[0, 0] - read[1, 0]).norm() > 1  # the same word beside another one
    assert read[2, 1:].abs().max() == 0


def test_sentences_say_what_they_ask_for() -> None:
    numbers = random.Random(2)
    made = [words.sentence(numbers) for _ in range(400)]
    assert {line.moves.index(1) for line in made if sum(line.moves) == 1} == set(range(len(MOVES)))
    for line in made:
        assert bool(line.text) == bool(sum(line.moves))
        asked = {move for move, on in zip(MOVES, line.moves, strict=True) if on}
        if "zoom in" in asked:
            assert any(word in line.text.lower() for word in ("zoom", "push", "doll", "close"))
