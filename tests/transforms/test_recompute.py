"""Activations made again in the backward pass: the same gradients, in memory that does not grow."""

import pytest
import torch
from tests.transforms.cases import CASES, made, points, scatter
from tests.transforms.recomputing import assert_same, couplings, gradients, pair, rows
from torch.testing import assert_close

import pushforward as pf
from pushforward import Flow, bases, maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError
from pushforward.transforms import recompute

both_ways = pytest.mark.parametrize("direction", ["forward", "inverse"])


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
    """Of 64 layers it is that of four; beyond that of one and the states it is bounded."""
    x = rows(64)
    steps = couplings(64, spread=0.02, hidden=(64, 64))
    many = peak(T.Compose(*steps, memory="recompute"), x)
    assert many < 1.5 * peak(T.Compose(*steps[:4]), x)
    assert peak(T.Compose(*steps), x) > 10 * many
    for bound in (0, 1 << 19):
        monkeypatch.setattr(recompute, "_TOGETHER", bound)
        few, *many = (
            peak(T.Compose(*some, memory="recompute"), x) for some in (steps[:4], steps, 4 * steps)
        )
        assert max(many) < 1.5 * few + bound


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
