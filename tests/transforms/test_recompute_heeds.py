"""What recomputing heeds: random numbers, buffers, modes, hooks, frozen parameters."""

from contextlib import nullcontext

import pytest
import torch
from tests.transforms.recomputing import assert_same, couplings, gradients, pair, rows
from torch.testing import assert_close

from pushforward import kernels, maps
from pushforward import transforms as T
from pushforward.transforms import recompute
from pushforward.transforms.base import drawing_from


def test_random_numbers_are_drawn_again(monkeypatch, ways):
    """Dropout: the same units are dropped, and nothing is drawn in the backward pass."""
    monkeypatch.setattr(recompute, "_KEPT", 2)
    stored, again = pair(*couplings(5, dropout=0.5))
    found = []
    for transform in (again, stored):
        torch.manual_seed(0)
        found.append(gradients(transform.train(), rows()))
        found.append(torch.rand(3))
    assert_same(found[0], found[2], rtol=0.0)
    assert_close(found[1], found[3], atol=0, rtol=0)
    assert ways == ["_gone_again"] * 2


def test_estimates_draw_the_same_numbers_again_from_their_generator(monkeypatch):
    monkeypatch.setattr(recompute, "_KEPT", 2)
    steps = [T.Contractive(4, hidden=(8,), logdet="unbiased").double() for _ in range(3)]
    found = []
    for transform in pair(*steps):
        generator = torch.Generator().manual_seed(3)
        leaf = rows().requires_grad_()
        with drawing_from(generator):
            z, logdet = transform(leaf)
        wanted = [leaf, *transform.parameters()]
        grads = torch.autograd.grad(z.sum() + logdet.sum(), wanted)
        found.append((*grads, logdet.detach(), generator.get_state()))
    assert_close(found[1], found[0], atol=0, rtol=0)


@pytest.mark.parametrize("kept", [1, 16], ids=lambda n: f"kept{n}")
def test_batch_normalization_counts_each_batch_once(kept, monkeypatch):
    monkeypatch.setattr(recompute, "_KEPT", kept)
    network = torch.nn.Sequential(
        torch.nn.Linear(2, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 4)
    )
    inner = T.Coupling(4, map=maps.Affine(), network=lambda _i, _o: network).double()
    stored, again = pair(T.BatchNorm(4).double(), inner, T.BatchNorm(4).double())
    for seed in range(3):
        x = rows(seed=seed)
        assert_same(gradients(again.train(), x), gradients(stored.train(), x), rtol=0.0)
    assert int(again.transforms[1].network[1].num_batches_tracked) == 3
    for (name, a), (_, b) in zip(again.named_buffers(), stored.named_buffers(), strict=True):
        assert_close(a, b, atol=0, rtol=0, msg=name)


def test_what_changes_before_the_backward_pass_does_not_matter():
    """Training mode, and weights lent for one call."""
    stored, again = pair(*couplings(3, dropout=0.5))
    found = []
    for transform in (stored, again):
        lent = {
            name: (p.detach() * 1.5).requires_grad_() for name, p in transform.named_parameters()
        }
        torch.manual_seed(0)
        z, logdet = torch.func.functional_call(transform.train(), lent, (rows(),))
        transform.eval()
        found.append(torch.autograd.grad(z.sum() + logdet.sum(), list(lent.values())))
        assert not transform.transforms[0].network.training
    assert_close(found[1], found[0], atol=0, rtol=0)


def test_what_is_changed_between_forward_and_backward_is_refused(one_part):
    """As autograd does; made again with other numbers, gradients would be wrong without a word."""
    fixed = T.Standardize(4).double()

    def write(made):
        fixed.scale.mul_(2.0)

    def widen(made):
        made.transforms[0].map.low.sub_(1.0)

    def exchange(made):
        weight = made.transforms[0].network.last.weight
        weight.data = 2.0 * weight.data

    changes = {
        "'scale' of a Standardize was modified": write,
        "'low' of a RationalQuadratic was modified": widen,
        "a parameter was exchanged by `.data`": exchange,
    }
    for said, change in changes.items():
        made = T.Compose(*couplings(1), fixed, *couplings(2), memory="recompute")
        z, logdet = made(rows())
        change(made)
        with pytest.raises(RuntimeError, match=said):
            (z.square().sum() + logdet.sum()).backward()


def test_a_hook_of_what_has_no_gradient_gets_zeros_or_is_not_called():
    """The shift of the last triangles has no influence on the logdet."""
    for one in pair(*(T.LU(4).double() for _ in range(3))):
        seen = []
        shift = one.transforms[2].shift
        shift.register_hook(seen.append)
        one(rows())[1].sum().backward()
        assert [g.tolist() for g in seen] in ([], [[0.0] * 4])


def test_second_derivatives_are_the_same():
    stored, again = pair(*couplings(3, map=maps.SinhArcsinh()))
    found = []
    for transform in (stored, again):
        x = rows().requires_grad_()
        weights = list(transform.parameters())
        z, logdet = transform(x)
        first = torch.autograd.grad(
            z.square().sum() + logdet.sum(), [x, *weights], create_graph=True
        )
        loss = sum(g.square().sum() for g in first)
        second = torch.autograd.grad(loss, [x, *weights])
        found.append((first, second))
    assert_close(found[1], found[0], atol=1e-12, rtol=1e-9)


def test_many_gradients_at_once_are_the_same():
    stored, again = pair(*couplings(3))
    x = rows(2)
    for i in (0, 1):
        want = torch.autograd.functional.jacobian(lambda v, i=i: stored(v)[i], x)
        got = torch.autograd.functional.jacobian(lambda v, i=i: again(v)[i], x, vectorize=True)
        assert_close(got, want, atol=1e-12, rtol=1e-9)


def test_a_graph_can_be_gone_through_twice():
    (again,) = pair(*couplings(3))[1:]
    x = rows().requires_grad_()
    z, logdet = again(x)
    loss = z.sum() + logdet.sum()
    first = torch.autograd.grad(loss, x, retain_graph=True)
    assert_close(torch.autograd.grad(loss, x), first, atol=0, rtol=0)


def test_hooks_of_parameters_are_called_once():
    stored, again = pair(*couplings(3))
    for transform in (stored, again):
        for p in transform.parameters():
            p.register_hook(lambda g: 0.5 * g)
        transform.found = []
        for twice in (False, True):
            z, logdet = transform(rows())
            loss = z.sum() + logdet.sum()
            found = torch.autograd.grad(loss, list(transform.parameters()), create_graph=twice)
            transform.found += [g.detach() for g in found]
    assert_close(again.found, stored.found, atol=1e-12, rtol=1e-9)


def test_frozen_parameters_and_a_loss_of_z_alone():
    stored, again = pair(*couplings(4, map=maps.Additive()))
    for transform in (stored, again):
        transform.transforms[0].requires_grad_(False)
        transform.transforms[2].requires_grad_(False)
        transform(rows())[0].square().sum().backward()
        transform.found = {name: p.grad for name, p in transform.named_parameters()}
    for name, gradient in stored.found.items():
        assert (gradient is None) == (again.found[name] is None), name
        if gradient is not None:
            assert_close(again.found[name], gradient, atol=1e-12, rtol=1e-9)
    assert all(again.found[n] is None for n in again.found if n.startswith("transforms.0."))


def test_a_tensor_that_is_no_parameter_gets_its_gradient():
    gain = torch.ones(1, dtype=torch.float64, requires_grad=True)
    stored, again = pair(*couplings(2))
    for transform in (stored, again):
        leaf = gain.detach().clone().requires_grad_()
        transform.transforms[1].network.gain = leaf
        transform.transforms[1].network.register_forward_hook(lambda m, _, out: out * m.gain)
        transform(rows())[1].sum().backward()
        transform.found = leaf.grad
    assert_close(again.found, stored.found, atol=0, rtol=0)


def test_autocast_is_that_of_the_call(one_part):
    stored, again = (t.float() for t in pair(*couplings(3)))
    found = []
    for transform in (stored, again):
        leaf = rows(dtype=torch.float32).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z, logdet = transform(leaf)
        found.append(torch.autograd.grad(z.sum() + logdet.sum(), [leaf, *transform.parameters()]))
    for a, b in zip(found[1], found[0], strict=True):
        # gradients of networks in bfloat16 have eight bits, of which the last may differ
        assert_close(a, b, atol=2e-2 * float(b.abs().max()), rtol=0)


@pytest.mark.parametrize("kernels_on", [True, False])
def test_what_it_gives_may_be_changed_in_place(kernels_on):
    """As what a row of steps gives otherwise."""
    steps = [
        T.Coupling(4, map=maps.Affine(), hidden=(8,)),
        T.Standardize(4),
        T.Coupling((4,), map=maps.Affine(), hidden=(8,)),
    ]
    found = []
    for memory in ("store", "recompute"):
        made = T.Compose(*steps, memory=memory).double()
        x = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).reshape(3, 4).requires_grad_()
        with nullcontext() if kernels_on else kernels.disabled():
            z, logdet = made(x)
            z.mul_(2.0)
            logdet.add_(1.0)
            found.append(torch.autograd.grad(z.square().sum() + logdet.sum(), x)[0])
    assert_close(found[1], found[0])
