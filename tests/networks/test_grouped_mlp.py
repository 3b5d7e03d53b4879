"""A perceptron of groups sees, for each group, the groups before it, all of them, and no other."""

import pytest
import torch
from tests.transforms.cases import scatter
from torch.testing import assert_close

from pushforward.errors import ArgumentError
from pushforward.networks import GroupedMLP

SHAPES = [
    ([0, 0, 1, 2], [0, 1, 1, 2, 3]),
    ([2, 0, 1], [1, 2, 0]),
    ([0, 3], [3, 0, 1]),
    ([0], [0]),
    ([1, 1, 5], [5, 6]),
]


@pytest.mark.parametrize(("inputs", "outputs"), SHAPES, ids=str)
@pytest.mark.parametrize("hidden", [(), (2,), (16, 16)], ids=str)
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("residual", [False, True])
def test_what_reaches_what(inputs, outputs, hidden, context, residual):
    network = GroupedMLP(inputs, outputs, context, hidden, "silu", residual=residual).double()
    scatter(network, 1.0)
    x, c = torch.randn(len(inputs)).double(), torch.randn(context).double()
    jacobian = torch.autograd.functional.jacobian(
        lambda both: network(both[: len(inputs)], both[len(inputs) :] if context else None),
        torch.cat((x, c)),
    )
    before = torch.tensor(inputs)[None, :] < torch.tensor(outputs)[:, None]
    everything = torch.ones(len(outputs), context, dtype=torch.bool)
    assert_close(jacobian != 0, torch.cat((before, everything), -1))


@pytest.mark.parametrize("context", [None, torch.randn(5, 3)], ids=["alone", "context"])
def test_it_gives_zero_before_training(context):
    network = GroupedMLP([0, 1], [0, 1, 2], 0 if context is None else 3, (8,))
    assert_close(network(torch.randn(5, 2), context), torch.zeros(5, 3), atol=0, rtol=0)


def test_a_narrow_layer_is_widened_to_the_groups():
    network = GroupedMLP(list(range(10)), list(range(10)), hidden=(3, 30))
    assert [layer.out_features for layer in network.layers] == [9, 30]


def test_dropout_acts_in_training_only():
    network = GroupedMLP([0], [1] * 4, hidden=(64,), dropout=0.5)
    scatter(network, 1.0)
    x = torch.randn(5, 1)
    assert not torch.equal(network(x, None), network(x, None))
    network.eval()
    assert torch.equal(network(x, None), network(x, None))


def test_what_cannot_be_is_refused():
    with pytest.raises(ArgumentError, match="a group is below 0, expected numbers from 0 up"):
        GroupedMLP([-1], [0])
    with pytest.raises(ArgumentError, match="activation is 'sine'"):
        GroupedMLP([0], [0], activation="sine")
    with pytest.raises(ArgumentError, match=r"hidden is \(0,\)"):
        GroupedMLP([0], [0], hidden=(0,))
