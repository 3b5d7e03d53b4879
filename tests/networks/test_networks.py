"""Networks: zero before training, rows apart, and masks that hide exactly what they should."""

import pytest
import torch
from tests.transforms.cases import scatter
from torch.testing import assert_close

import pushforward.networks
from pushforward.errors import ArgumentError, ShapeError
from pushforward.networks import MLP, MaskedMLP, Normalize


def test_every_public_network_is_tested_here():
    assert set(pushforward.networks.__all__) == {"MLP", "MaskedMLP", "Normalize"}


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu", "elu", "tanh"])
@pytest.mark.parametrize("inputs", [0, 1, 5])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 8)], ids=str)
def test_a_perceptron_gives_zero_before_training_and_not_after(activation, inputs, hidden):
    network = MLP(inputs, 3, hidden, activation)
    x = torch.randn(2, 4, inputs)
    assert_close(network(x), torch.zeros(2, 4, 3), atol=0, rtol=0)
    scatter(network, 0.5)
    assert bool((network(x) != 0).all())
    assert_close(network(x)[0, 1], network(x[0, 1]), atol=1e-6, rtol=0)


def test_a_perceptron_trains_from_its_start():
    """Only the last layer can move at first, since it starts at zero; then all of them."""
    network = MLP(2, 1, (8,))
    scatter_of = lambda: {n for n, p in network.named_parameters() if bool(p.grad.any())}
    network(torch.randn(50, 2)).sum().backward()
    assert scatter_of() == {"last.weight", "last.bias"}
    scatter(network, 0.5)
    network(torch.randn(50, 2)).square().sum().backward()
    assert scatter_of() == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize("kind", [MLP, MaskedMLP])
def test_networks_refuse_what_cannot_be(kind):
    with pytest.raises(ArgumentError, match="activation is 'sine', expected one of relu, silu"):
        kind(2, 2, activation="sine")
    with pytest.raises(ArgumentError, match=r"hidden is \(0,\), expected widths of at least 1"):
        kind(2, 2, hidden=(0,))
    with pytest.raises(ArgumentError, match=r"dropout is 1.0, expected a share in \[0, 1\)"):
        kind(2, 2, dropout=1.0)


@pytest.mark.parametrize("kind", [MLP, MaskedMLP])
def test_dropout_acts_in_training_only(kind):
    network = kind(4, 2, hidden=(64,), dropout=0.5)
    scatter(network, 0.5)
    x = torch.randn(3, 4)
    call = (lambda: network(x)) if kind is MLP else (lambda: network(x, None))
    assert not torch.equal(call(), call())
    network.eval()
    assert_close(call(), call(), atol=0, rtol=0)


@pytest.mark.parametrize("order", [None, [0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]], ids=str)
@pytest.mark.parametrize("hidden", [(2,), (16,), (16, 16)], ids=str)
@pytest.mark.parametrize("context", [0, 2])
def test_a_masked_perceptron_sees_all_that_is_earlier_and_nothing_else(order, hidden, context):
    network = MaskedMLP(4, 3, order, context, hidden, activation="tanh").double()
    scatter(network, 0.5)
    x, c = torch.randn(4).double(), torch.randn(context).double()

    def call(x, c):
        return network(x, c if context else None)

    by_x, by_c = torch.autograd.functional.jacobian(call, (x, c))
    place = torch.arange(4) if order is None else torch.tensor(order)
    earlier = place[None, :] < place[:, None]  # (output of a feature, input)
    assert torch.equal((by_x != 0).any(1), earlier)
    assert torch.equal((by_x != 0).all(1), earlier)
    assert bool((by_c != 0).all())


def test_a_masked_perceptron_is_zero_before_training():
    network = MaskedMLP(3, 2, context=2)
    out = network(torch.randn(5, 3), torch.randn(5, 2))
    assert_close(out, torch.zeros(5, 3, 2), atol=0, rtol=0)


@pytest.mark.parametrize("order", [[0, 0, 1], [1, 2, 3], [0, 1]], ids=str)
def test_a_masked_perceptron_refuses_what_is_no_order(order):
    with pytest.raises(ShapeError, match="expected a permutation of 0 … 2"):
        MaskedMLP(3, 2, order)


def test_normalize_makes_mean_zero_and_deviation_one():
    x = torch.randn(1000, 2).double() * torch.tensor([1e3, 1e-3]) + 7.0
    scale = Normalize(2).double()
    assert_close(scale(x), x, atol=0, rtol=0)
    z = scale.fit(x)(x)
    assert_close(z.mean(0), torch.zeros(2).double(), atol=1e-9, rtol=0)
    assert_close(z.std(0, unbiased=False), torch.ones(2).double(), atol=1e-9, rtol=0)


def test_normalize_leaves_a_constant_column_its_unit():
    z = Normalize(1).fit(torch.full((10, 1), 3.0))(torch.tensor([[4.0]]))
    assert_close(z, torch.tensor([[1.0]]), atol=1e-6, rtol=0)
