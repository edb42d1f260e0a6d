import pytest

from models.errors import WeightsMissing


@pytest.fixture
def toy():
    """A transformer of 3 double and 5 single blocks that pass everything on, and attentions that write their number."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def forward(self, text, image):
            return text, image

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.transformer_blocks = nn.ModuleList(Block() for _ in range(3))
            self.single_transformer_blocks = nn.ModuleList(Block() for _ in range(5))
            self.seen = []

        def forward(self):
            text, image = torch.zeros(2, 1, 1), torch.zeros(2, 1, 1)
            self.seen = []
            for block in (*self.transformer_blocks, *self.single_transformer_blocks):
                text, image = block(text, image)
                self.seen.append(image[:, 0, 0].tolist())
            assert not text.any()
            return image[:, 0, 0].tolist()

    class Number(nn.Module):
        def __init__(self, number):
            super().__init__()
            self.number = number

        def forward(self, tokens, image):
            return tokens * 10.0**self.number

    return Transformer(), nn.ModuleList(Number(n) for n in range(4))


def worn(first=0, last=9, weights=(1.0, 1.0)):
    import torch

    from models.identity.injection import Worn

    tokens = torch.tensor([[1.0, 2.0], [5.0, 5.0]]).view(2, 2, 1, 1)  # pass, item
    return Worn(tokens, torch.tensor(weights).view(2, 1, 1), first, last)


def hang(toy):
    from models.identity.injection import Injection

    transformer, attentions = toy
    return transformer, Injection(transformer, attentions)


def test_attentions_act_behind_every_second_double_and_fourth_single_block_in_order(toy):
    transformer, injection = hang(toy)
    with injection.wearing(worn()):
        transformer()
    assert [item for item, _ in transformer.seen] == [1, 1, 11, 111, 111, 111, 111, 1111]


def test_items_have_tokens_and_weights_of_their_own(toy):
    transformer, injection = hang(toy)
    with injection.wearing(worn(weights=(1.0, 0.5))):
        assert transformer() == [1111, 1111]
    with injection.wearing(worn(weights=(0.0, 1.0))):
        assert transformer() == [0, 2222]


def test_the_second_pass_of_a_step_sees_the_second_tokens(toy):
    transformer, injection = hang(toy)
    with injection.wearing(worn()):
        for done in (1, 2):
            assert [transformer()[0], transformer()[0]] == [1111, 5555]
            injection.finished(done)


def test_faces_show_from_first_to_last(toy):
    transformer, injection = hang(toy)
    shown = []
    with injection.wearing(worn(first=1, last=3)):
        for step in range(4):
            shown.append(transformer()[0])
            injection.finished(step + 1)
    assert shown == [0, 1111, 1111, 0]


def test_nothing_is_left_after_an_error(toy):
    transformer, injection = hang(toy)

    def fail():
        with injection.wearing(worn()):
            transformer()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert transformer() == [0, 0]
    with injection.wearing(worn()):
        assert transformer() == [1111, 2222]


def test_a_file_for_another_transformer_is_refused(toy):
    from models.identity.injection import Injection

    transformer, attentions = toy
    with pytest.raises(WeightsMissing, match="3 cross-attentions, this transformer has room for 4"):
        Injection(transformer, attentions[:3])
