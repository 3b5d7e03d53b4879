"""Activations made again in the backward pass: the same gradients, in memory that does not grow."""

import copy
from contextlib import nullcontext

import pytest
import torch
from tests.transforms.cases import CASES, made, points, scatter
from torch.testing import assert_close

import pushforward as pf
from pushforward import Flow, bases, kernels, maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError
from pushforward.transforms import recompute
from pushforward.transforms.base import drawing_from

both_ways = pytest.mark.parametrize("direction", ["forward", "inverse"])


@pytest.fixture
def one_part(monkeypatch):
    """All steps lie behind one kept state, so that all but the first are taken back."""
    monkeypatch.setattr(recompute, "_KEPT", 1)


@pytest.fixture
def ways(monkeypatch):
    """Which way the parts of the last backward pass went, in turn."""
    gone = []
    for name in ("_taken_back", "_gone_again", "_with_graph"):
        whole = getattr(recompute, name)

        def noted(*args, name=name, whole=whole):
            found = whole(*args)
            gone.append(name if found is not None else "missed")
            return found

        monkeypatch.setattr(recompute, name, noted)
    return gone


def pair(*steps):
    """The same steps twice: stored, and recomputed."""
    return T.Compose(*steps), T.Compose(*copy.deepcopy(steps), memory="recompute")


def couplings(count, features=4, map=None, spread=0.2, hidden=(16,), **options):
    map = maps.RationalQuadratic(bins=5, box=4.0) if map is None else map
    keeps = [[(i + j) % 2 == 0 for j in range(features)] for i in range(count)]
    steps = [T.Coupling(features, map=map, keep=k, hidden=hidden, **options) for k in keeps]
    for i, step in enumerate(steps):
        scatter(step, spread, seed=i)
    return [step.double() for step in steps]


def rows(count=16, features=4, dtype=torch.float64, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, features, generator=generator, dtype=torch.float64).to(dtype)


def gradients(transform, x, c=None, direction="forward"):
    """Of a loss of z and logdet: in x, in the context and in every parameter."""
    leaves = [t.clone().requires_grad_() for t in (x, c) if t is not None]
    z, logdet = getattr(transform, direction)(*leaves)
    wanted = [*leaves, *(p for p in transform.parameters() if p.requires_grad)]
    loss = (z.square().sum(-1).sum() if z.ndim else z.square()) + (2.0 * logdet).sum()
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return (z, logdet), [None if g is None else g for g in found]


def assert_same(got, want, rtol=1e-9):
    """The same values, and gradients to a share of the largest.

    States found on the way back are off by a few hundred roundings at most, 1e-13, which slopes
    up to 30 in each of three steps amplify.
    """
    # Logdets are added part by part; a search is polished once more where gradients are asked for.
    assert_close(got[0], want[0], atol=1e-12, rtol=1e-12)
    assert [g is None for g in got[1]] == [g is None for g in want[1]]
    there = [(a, b) for a, b in zip(got[1], want[1], strict=True) if a is not None]
    largest = max((float(b.abs().max()) for _, b in there if b.numel()), default=0.0)
    for a, b in there:
        assert_close(a, b, atol=rtol * largest, rtol=0)


@both_ways
@pytest.mark.parametrize("kept", [1, 16], ids=lambda n: f"kept{n}")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradients_are_those_of_stored_activations(case, kept, direction, monkeypatch):
    monkeypatch.setattr(recompute, "_KEPT", kept)
    first, second = (made(case, 3, 2, spread=spread) for spread in (0.4, 0.2))
    steps = (first, T.Inverse(second), first)  # one of them twice
    stored, again = T.Compose(*steps), T.Compose(*steps, memory="recompute")
    x, c = points(case, first, (5,), direction=direction)
    assert_same(gradients(again, x, c, direction), gradients(stored, x, c, direction))


@both_ways
@pytest.mark.parametrize("kept_map", [None, maps.Affine()], ids=["kept", "kept-map"])
def test_couplings_are_taken_back(direction, kept_map, one_part, ways):
    stored, again = pair(*couplings(6, context=2, kept_map=kept_map))
    x, c = rows(), rows(16, 2)
    assert_same(gradients(again, x, c, direction), gradients(stored, x, c, direction))
    assert ways == ["_taken_back"]


def test_an_autoregression_turned_round_is_taken_back_and_one_that_is_not_is_gone_again(
    one_part, ways
):
    steps = [T.Autoregressive(4, map=maps.Affine(), hidden=(16,)).double() for _ in range(3)]
    for step in steps:
        scatter(step, 0.2)
    for turned in ([T.Inverse(step) for step in steps], steps):
        stored, again = pair(*turned)
        assert_same(gradients(again, rows()), gradients(stored, rows()))
    assert ways == ["_taken_back", "_gone_again"]


def test_steps_that_lose_digits_are_gone_again(one_part, ways):
    """What is moved by a million has lost six digits."""
    squeeze = T.Standardize(4).double()
    squeeze.mean.fill_(-1e6)
    stored, again = pair(*couplings(2), squeeze, *couplings(1))
    assert_same(gradients(again, rows()), gradients(stored, rows()), rtol=0.0)
    assert ways == ["missed", "_gone_again"]


def test_rows_outside_and_rows_that_are_not_finite_are_gone_again(one_part, ways):
    spline = maps.RationalQuadratic(bins=5, box=2.0, tails="none")
    x = rows() * 0.5
    for value in (3.0, float("nan")):
        x[3, 1] = value
        stored, again = pair(T.Reverse(4), *couplings(4, map=spline))
        for transform in (stored, again):
            y = x.clone().requires_grad_()
            z, logdet = transform(y)
            inside = logdet.isfinite()
            (z[inside].sum() + logdet[inside].sum()).backward()
            transform.found = [y.grad, *(p.grad for p in transform.parameters())]
        for a, b in zip(again.found, stored.found, strict=True):
            assert_close(a, b, atol=0, rtol=0, equal_nan=True)
    assert ways == ["missed", "_gone_again"] * 2


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


def test_without_gradients_nothing_is_kept():
    (again,) = pair(*couplings(3))[1:]
    with torch.no_grad():
        assert again(rows())[0].grad_fn is None
    assert again.requires_grad_(False)(rows())[0].grad_fn is None


def peak(transform, x):
    """Most numbers stored for a backward pass at one time, by the way there and the way back."""
    own = {p.untyped_storage().data_ptr() for p in transform.parameters()}
    alive, most = {}, 0

    class Held:
        def __init__(self, tensor):
            nonlocal most
            self.tensor, self.key = tensor, tensor.untyped_storage().data_ptr()
            if self.key not in own:
                count, size = alive.get(self.key, (0, tensor.untyped_storage().nbytes()))
                alive[self.key] = (count + 1, size)
                most = max(most, sum(size for _, size in alive.values()))

        def __del__(self):
            if self.key in alive:
                count, size = alive.pop(self.key)
                if count > 1:
                    alive[self.key] = (count - 1, size)

    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        z, logdet = transform(x)
        (z.square().sum() + logdet.sum()).backward()
    return most


def test_memory_does_not_grow_with_depth(monkeypatch):
    """Of 64 layers it is that of four; of large batches, that of one and the states."""
    x = rows(64)
    steps = couplings(64, spread=0.02, hidden=(64, 64))
    many = peak(T.Compose(*steps, memory="recompute"), x)
    assert many < 1.5 * peak(T.Compose(*steps[:4]), x)
    assert peak(T.Compose(*steps), x) > 10 * many
    monkeypatch.setattr(recompute, "_TOGETHER", 0)
    few, many = (peak(T.Compose(*steps[:n], memory="recompute"), x) for n in (4, 64))
    assert many < 1.5 * few


def test_steps_are_taken_back_in_rows_of_a_kernel_however_they_are_mixed(one_part, ways):
    """Networks with and without context, triangles, scalings, one without kernel, one twice."""
    first, second, third, fourth = couplings(2) + couplings(2, context=2, spread=0.3)
    fixed, mixing, turned = T.Standardize(4).double(), T.LU(4).double(), T.Reverse(4)
    fixed.mean.copy_(rows(4)[0])
    fixed.scale.copy_(rows(4)[1].exp())
    scatter(mixing, 0.3)
    stored, again = pair(third, fixed, first, mixing, turned, second, T.Inverse(fourth), first)
    c = rows(16, 2)
    for direction in ("forward", "inverse"):
        assert_same(gradients(again, rows(), c, direction), gradients(stored, rows(), c, direction))
    assert ways == ["_taken_back"] * 2


def test_in_float32_64_layers_are_as_exact_as_with_stored_activations(ways):
    steps = couplings(64, features=6, spread=0.1)
    x = rows(64, 6, torch.float32)
    exact = gradients(T.Compose(*steps), x.double())[1]
    single = T.Compose(*steps).float()
    again = T.Compose(*single.transforms, memory="recompute")
    errors = []
    for transform in (single, again):
        found = gradients(transform, x)[1]
        errors.append(
            sum(float((a.double() - b).square().sum()) for a, b in zip(found, exact, strict=True))
            ** 0.5
        )
    assert ways == ["_taken_back"] * 16
    assert 0.0 < errors[1] <= 1.2 * errors[0]


def test_in_float64_64_layers_give_the_same_gradients():
    steps = couplings(64, features=6, spread=0.1)
    x = rows(64, 6)
    stored, again = pair(*steps)
    assert_same(gradients(again, x), gradients(stored, x), rtol=1e-10)


def test_samples_with_gradients_are_the_same():
    found = []
    for transform in pair(*couplings(20)):
        flow = Flow(transform, bases.Normal(4).double())
        x = flow.rsample(50, generator=torch.Generator().manual_seed(0))
        found.append(
            torch.autograd.grad(x.square().sum(), list(transform.parameters()), allow_unused=True)
        )
    for a, b in zip(found[1], found[0], strict=True):
        if b is not None:
            assert_close(a, b, atol=1e-9 * max(1.0, float(b.abs().max())), rtol=0)


def test_memory_is_remembered_printed_and_refused(tmp_path):
    flow = Flow(T.Compose(T.Diagonal(2), T.Reverse(2), memory="recompute"), bases.Normal(2))
    pf.save(flow, tmp_path / "flow.safetensors")
    assert pf.load(tmp_path / "flow.safetensors").transform.memory == "recompute"
    assert "memory='recompute'" in repr(flow.transform)
    with pytest.raises(ArgumentError, match="memory is 'little', expected 'store' or 'recompute'"):
        T.Compose(T.Reverse(2), memory="little")


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
