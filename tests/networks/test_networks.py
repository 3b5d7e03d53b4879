"""Networks: zero before training, rows apart, and masks that hide exactly what they should."""

import pytest
import torch
from tests.transforms.cases import scatter
from torch.testing import assert_close

import pushforward.networks
from pushforward.errors import ArgumentError, ShapeError
from pushforward.networks import MLP, LipschitzMLP, MaskedMLP, Normalize, TimeMLP


def test_every_public_network_is_tested_here():
    assert set(pushforward.networks.__all__) == {
        "GroupedMLP",  # in test_grouped_mlp
        "LipschitzMLP",
        "MLP",
        "MaskedMLP",
        "MixedEncoding",  # in test_mixed_encoding
        "Normalize",
        "Ramps",  # in test_side_by_side
        "SideBySideMLP",  # in test_side_by_side
        "TimeMLP",
    }


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
    with pytest.raises(ArgumentError, match=r"hidden is \(8, 9\) with residual=True, expected equ"):
        kind(2, 2, hidden=(8, 9), residual=True)


@pytest.mark.parametrize("kind", [MLP, MaskedMLP])
def test_dropout_acts_in_training_only(kind):
    network = kind(4, 2, hidden=(64,), dropout=0.5)
    scatter(network, 0.5)
    x = torch.randn(3, 4)
    call = (lambda: network(x)) if kind is MLP else (lambda: network(x, None))
    assert not torch.equal(call(), call())
    network.eval()
    assert_close(call(), call(), atol=0, rtol=0)


def test_a_residual_layer_adds_to_the_one_before_it():
    network = MLP(3, 2, (8, 8, 8), "silu", residual=True).double()
    scatter(network, 0.5)
    x = torch.randn(5, 3).double()
    first, *others = network.hidden_layers
    sums = first(x)
    for layer in others:
        sums = sums + layer(torch.nn.functional.silu(sums))
    assert_close(network(x), network.last(torch.nn.functional.silu(sums)), atol=1e-14, rtol=0)
    masked = MaskedMLP(3, 2, None, 0, (8, 8, 8), "silu", residual=True).double()
    scatter(masked, 0.5)
    (first, shift), *others, (last, last_shift) = masked.masked()
    sums = x @ first.mT + shift
    for weight, shift in others:
        sums = sums + torch.nn.functional.silu(sums) @ weight.mT + shift
    want = torch.nn.functional.silu(sums) @ last.mT + last_shift
    assert_close(masked(x, None), want.reshape(5, 3, 2), atol=1e-14, rtol=0)


@pytest.mark.parametrize("order", [None, [0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]], ids=str)
@pytest.mark.parametrize("hidden", [(2,), (16,), (16, 16)], ids=str)
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
def test_a_masked_perceptron_sees_all_that_is_earlier_and_nothing_else(
    order, hidden, context, residual
):
    network = MaskedMLP(4, 3, order, context, hidden, "tanh", residual=residual).double()
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


@pytest.mark.parametrize("order", [[0, 0, 1], [1, 2, 3], [0, 1], [0, 1.0, 2]], ids=str)
def test_a_masked_perceptron_refuses_what_is_no_order(order):
    with pytest.raises(ArgumentError, match="expected a permutation of 0 … 2"):
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


@pytest.mark.parametrize("shape", [(5, 1), (5, 3), ()], ids=str)
def test_normalize_refuses_another_width(shape):
    """A single number would be broadcast to all features, silently."""
    with pytest.raises(ShapeError, match=r"Normalize: context has shape \(.*expected \(\*batch, 2"):
        Normalize(2)(torch.zeros(shape))


@pytest.mark.parametrize("activation", ["tanh", "softplus", "silu"])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 6)], ids=str)
def test_a_network_of_time_carries_directions_along(activation, hidden):
    network = TimeMLP(4, 2, hidden, activation).double()
    x = torch.randn(5, 4).double()
    assert_close(network(x), torch.zeros(5, 2).double(), atol=0, rtol=0)
    scatter(network, 0.7)
    directions = torch.randn(6, 5, 3).double()
    value, pushed = network.push(x, directions)
    assert_close(value, network(x), atol=1e-14, rtol=0)
    full = torch.cat((directions, torch.zeros(6, 5, 1).double()), -1)  # time stands still
    for one, got in zip(full, pushed, strict=True):
        want = torch.autograd.functional.jvp(network, x, one)[1]
        assert_close(got, want, atol=1e-12, rtol=0)
    later = x + torch.tensor([0.0, 0.0, 0.0, 0.5])
    assert bool((network(later) != value).all())


def test_a_network_of_time_refuses_what_cannot_be():
    with pytest.raises(ArgumentError, match="activation is 'relu', expected a smooth one: tanh"):
        TimeMLP(3, 2, activation="relu")
    with pytest.raises(ArgumentError, match=r"hidden is \(8, 0\), expected widths of at least 1"):
        TimeMLP(3, 2, hidden=(8, 0))
    with pytest.raises(ArgumentError, match="inputs is 1, expected the time and one more"):
        TimeMLP(1, 2)


def lipschitz(inputs=3, outputs=3, **options):
    """A perceptron whose matrices are all far beyond what they may be."""
    network = LipschitzMLP(inputs, outputs, (32, 32), **options).double()
    scatter(network, 3.0)
    return network


def test_a_lipschitz_perceptron_stretches_nothing_further_than_it_may():
    for mode in ("train", "eval"):
        network = getattr(lipschitz(), mode)()
        x = 4.0 * torch.randn(4000, 3).double()
        near = x + 1e-4 * torch.randn(4000, 3).double()
        moved = (network(x) - network(near)).norm(dim=-1)
        assert bool((moved <= 0.97 * (x - near).norm(dim=-1)).all())
        steepest = torch.linalg.matrix_norm(network.linearized(x)[1].matrix(), 2).max()
        assert 0.05 < float(steepest.detach()) <= 0.97


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_its_bound_holds_after_any_change_of_weights(dtype):
    """Loaded, converted, scaled: there is no state that could lag behind."""
    network, other = LipschitzMLP(3, 3, (32,)), lipschitz(coefficient=0.5).to(dtype)
    network = LipschitzMLP(3, 3, (32, 32), coefficient=0.5).to(dtype)
    network.load_state_dict(other.state_dict())
    network.layers[1].weight.data.mul_(1e4)
    for weight in network._weights():
        norm = torch.linalg.matrix_norm(weight.double(), 2)
        assert float(norm.detach()) <= 0.5 ** (1 / 3) * (1 + 8 * torch.finfo(dtype).eps)


def test_a_lipschitz_perceptron_leaves_short_matrices_as_they_are():
    network = LipschitzMLP(2, 2, (8,)).double()
    network.layers[0].weight.data.mul_(0.5)
    assert_close(network._weights()[0], network.layers[0].weight, atol=1e-16, rtol=0)


@pytest.mark.parametrize("context", [0, 2])
def test_the_jacobian_of_a_lipschitz_perceptron_is_the_one_autograd_finds(context):
    network = LipschitzMLP(4, 3, (8, 8), context=context).double()
    scatter(network, 1.0)
    x, c = torch.randn(5, 4).double(), torch.randn(context).double() if context else None
    y, jacobian = network.linearized(x, c)
    assert_close(y, network(x, c), atol=0, rtol=0)
    want = torch.func.vmap(torch.func.jacrev(lambda x: network(x, c)))(x)
    assert_close(jacobian.matrix(), want, atol=1e-14, rtol=0)
    v, u = torch.randn(5, 4).double(), torch.randn(5, 3).double()
    assert_close(jacobian.push(v), (want @ v[..., None])[..., 0], atol=1e-14, rtol=0)
    assert_close(jacobian.pull(u), (u[..., None, :] @ want)[..., 0, :], atol=1e-14, rtol=0)


def test_the_context_of_a_lipschitz_perceptron_may_move_it_further():
    network = LipschitzMLP(2, 2, (8,), context=1).double()
    scatter(network, 1.0)
    network.from_context.weight.data.mul_(100.0)
    x, c = torch.zeros(2, 2).double(), torch.tensor([[0.0], [1.0]]).double()
    y = network(x, c)
    assert float((y[0] - y[1]).norm().detach()) > 1.0


def test_a_lipschitz_perceptron_is_zero_before_training():
    network = LipschitzMLP(3, 2, context=1)
    assert_close(network(torch.randn(5, 3), torch.ones(1)), torch.zeros(5, 2), atol=0, rtol=0)
