"""Linear layers with LoRAs beside them."""

import pytest
import torch
from torch import nn

from models.lora.layer import LoraLinear


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 20), nn.Sequential(nn.Linear(20, 6, bias=False))).requires_grad_(False)


def pair(rank: int, into: int, out: int, seed: int = 1):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(rank, into, generator=draw), torch.randn(out, rank, generator=draw)


@pytest.mark.parametrize("shape", [(12,), (3, 12), (2, 5, 12)])
def test_branches_add_their_products_at_their_strengths(model, shape):
    x = torch.randn(shape)
    plain = model[0](x)
    layer = LoraLinear.at(model, "0")
    first, second = layer.branch(16), layer.branch(4)
    (a, b), (c, d), (e, f) = pair(3, 12, 20), pair(5, 12, 20, 2), pair(4, 12, 20, 3)
    first.fill([((a, b), 0.5), ((c, d), 1.0)])
    second.fill([((e, f), 1.0)])
    first.switch(True)
    second.switch(True)
    expected = plain + 0.5 * (x @ a.T @ b.T) + x @ c.T @ d.T + x @ e.T @ f.T
    torch.testing.assert_close(model[0](x), expected)


def test_an_input_with_its_axes_turned_gives_the_same(model):
    x = torch.randn(5, 2, 12)
    layer = LoraLinear.at(model, "0")
    branch = layer.branch(8)
    branch.fill([(pair(8, 12, 20), 1.0)])
    branch.switch(True)
    torch.testing.assert_close(model[0](x.transpose(0, 1)), model[0](x.transpose(0, 1).contiguous()))


def test_the_plain_layer_stands_in_the_model_unless_a_branch_acts(model):
    plain, names = model[1][0], dict(model.named_parameters()).keys()
    layer = LoraLinear.at(model, "1.0")
    branches = [layer.branch(8), layer.branch(8)]
    assert model[1][0] is plain
    branches[0].switch(True)
    branches[1].switch(True)
    branches[0].switch(False)
    assert model[1][0] is layer
    assert dict(model.named_parameters()).keys() == names, "weights keep their names"
    assert len(list(model.modules())) == 4, "the tree grows by nothing"
    branches[1].switch(False)
    assert model[1][0] is plain


def test_everyone_gets_the_same_layer_whether_something_acts_or_not(model):
    layer = LoraLinear.at(model, "0")
    branch = layer.branch(4)
    assert LoraLinear.at(model, "0") is layer
    branch.switch(True)
    assert LoraLinear.at(model, "0") is layer


def test_a_smaller_filling_leaves_nothing_of_a_larger_one(model):
    x = torch.randn(2, 12)
    layer = LoraLinear.at(model, "0")
    branch = layer.branch(16)
    branch.switch(True)
    branch.fill([(pair(16, 12, 20), 1.0)])
    a, b = pair(2, 12, 20, 5)
    branch.fill([((a, b), 1.0)])
    torch.testing.assert_close(model[0](x), layer._tree[1](x) + x @ a.T @ b.T)
    assert not branch.down[2:].any()
    assert not branch.up[:, 2:].any()
    branch.fill([])
    assert torch.equal(model[0](x), layer._tree[1](x))


def test_weights_that_move_move_in_both(model):
    layer = LoraLinear.at(model, "0")
    branch = layer.branch(4)
    model.to(torch.float64)
    assert layer.weight is layer._tree[1].weight
    assert layer.weight.dtype == torch.float64
    branch.switch(True)
    with torch.no_grad():
        assert model[0](torch.ones(1, 12, dtype=torch.float64)).dtype == torch.float64
