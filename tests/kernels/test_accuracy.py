"""Kernels are as accurate as the plain path, on ordinary and on extreme numbers."""

import pytest
import torch
from tests.kernels.cases import (
    FEATURES,
    LAYERS,
    MAPS_AND_DIRECTIONS,
    STEPS,
    extreme_numbers,
    layer,
    needs_kernels,
    plain_numbers,
    rows,
)
from tests.kernels.errors import error, how_much_worse, plain, results
from torch import Tensor
from torch.testing import assert_close

from pushforward import kernels

pytestmark = needs_kernels
SINGLE = torch.float32


@pytest.mark.parametrize(("case", "direction"), MAPS_AND_DIRECTIONS)
@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_float64_agrees(case, direction, spread):
    map = case.build().bind(3).double()
    apply = getattr(map, direction)
    inputs = plain_numbers(map, 1000, spread)
    for got, want in zip(results(apply, inputs), plain(apply, inputs), strict=True):
        assert float(error(got, want).max()) < 1e-10


@pytest.mark.parametrize(("case", "direction"), MAPS_AND_DIRECTIONS)
def test_float64_agrees_on_extreme_numbers(case, direction):
    map = case.build().bind(3).double()
    apply = getattr(map, direction)
    inputs = extreme_numbers(map)
    for got, want in zip(results(apply, inputs), plain(apply, inputs), strict=True):
        assert float(error(got, want).max()) < 1e-10


@pytest.mark.parametrize(("case", "direction"), MAPS_AND_DIRECTIONS)
@pytest.mark.parametrize("numbers", ["ordinary", "wide", "widest", "extreme"])
def test_float32_is_at_most_twice_as_wrong_as_the_plain_path(case, direction, numbers):
    """Against float64, on the very same float32 numbers."""
    single, double = case.build().bind(3), case.build().bind(3).double()
    if numbers == "extreme":
        inputs = extreme_numbers(single, torch.float32)
    else:
        spread = {"ordinary": 0.5, "wide": 2.0, "widest": 5.0}[numbers]
        inputs = plain_numbers(single, 20_000, spread, torch.float32)
    truth = plain(getattr(double, direction), [t.double() for t in inputs])
    ours = results(getattr(single, direction), inputs)
    theirs = plain(getattr(single, direction), inputs)
    for got, other, want in zip(ours, theirs, truth, strict=True):
        assert max(how_much_worse(error(got, want), error(other, want))) <= 2.0


def inputs_of(made, case, context, dtype=torch.float64):
    x = rows(77, FEATURES, dtype)
    c = rows(77, context, dtype, seed=9) if context else None
    return x, c


def layer_results(made, x, c, direction):
    """Values, and gradients of x, context and weights."""
    leaves = [x.clone().requires_grad_()]
    if c is not None:
        leaves.append(c.clone().requires_grad_())
    z, logdet = getattr(made, direction)(*leaves)
    total = (z * rows(len(z), FEATURES, z.dtype, seed=5)).sum()
    total = total + (logdet * rows(len(z), 1, z.dtype, seed=6)[:, 0]).sum()
    grads = torch.autograd.grad(total, [*leaves, *made.parameters()])
    return [t.detach() for t in (z, logdet, *grads)]


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.name)
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_layers_agree_in_float64(case, context, direction):
    made = layer(case, context)
    x, c = inputs_of(made, case, context)
    got = layer_results(made, x, c, direction)
    with kernels.disabled():
        want = layer_results(made, x, c, direction)
    for one, other in zip(got, want, strict=True):
        assert float(error(one, other).max()) < 1e-10


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.name)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_layers_in_float32_are_at_most_twice_as_wrong(case, direction, spread):
    """Each row's results and gradients; with ordinary weights the length of their gradients' error.

    With large ones a spline, nearly vertical in one row, decides over sums of all rows.
    """
    single = layer(case, 3, torch.float32, spread)
    double = layer(case, 3, spread=spread).float().double()
    ratios = []
    for seed in range(5):
        x, c = rows(1000, FEATURES, SINGLE, seed), rows(1000, 3, SINGLE, seed=9 + seed)
        ours = layer_results(single, x, c, direction)
        with kernels.disabled():
            theirs = layer_results(single, x, c, direction)
            truth = layer_results(double, x.double(), c.double(), direction)
        ratios.append([])
        if spread == 0.1:
            ratios[-1] += map(longer, ours[4:], theirs[4:], truth[4:])
        for got, other, want in zip(ours[:4], theirs, truth, strict=False):
            ratios[-1] += how_much_worse(error(got, want), error(other, want))
    # of five draws of the rows, in the middle one
    assert float(torch.tensor(ratios).median(0).values.max()) <= 2.0


def longer(got: Tensor, other: Tensor, want: Tensor) -> float:
    """How many times longer the error is than another one, or than a rounding."""
    mine, plains = (float((one.double() - want).norm()) for one in (got, other))
    return mine / max(plains, torch.finfo(SINGLE).eps * float(want.norm()), 1e-30)


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.name)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("batch", [(), (1,), (31,), (32,), (33,), (2, 3, 5)], ids=str)
def test_without_gradients_it_is_the_same(case, direction, batch):
    """The last block of rows is seldom full."""
    made = layer(case, 3)
    x, c = rows(30, FEATURES), rows(30, 3, seed=9)
    count = int(torch.tensor(batch).prod()) if batch else 1
    x = x.repeat(2, 1)[:count].reshape(*batch, FEATURES)
    c = c.repeat(2, 1)[:count].reshape(*batch, 3)
    with torch.no_grad():
        got = getattr(made, direction)(x, c)
        with kernels.disabled():
            want = getattr(made, direction)(x, c)
    assert_close(got, want, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.name)
def test_one_context_for_all_rows_gets_the_sum_of_their_gradients(case):
    made = layer(case, 3)
    x, c = rows(50, FEATURES), rows(1, 3, seed=9).requires_grad_()
    found = torch.autograd.grad(made(x, c)[0].sum(), c)[0]
    with kernels.disabled():
        want = torch.autograd.grad(made(x, c)[0].sum(), c)[0]
    assert_close(found, want, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("case", "direction"), MAPS_AND_DIRECTIONS)
def test_gradients_are_those_of_small_steps(case, direction):
    map = case.build().bind(3).double()
    x, raw = plain_numbers(map, 4, 0.7)
    x.requires_grad_(), raw.requires_grad_()
    if "none" in case.name:  # nothing has a gradient outside
        x = (0.2 * x.detach()).requires_grad_()
    assert torch.autograd.gradcheck(getattr(map, direction), (x, raw), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.name)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_gradients_of_layers_are_those_of_small_steps(case, direction):
    made = layer(case, 2)
    x, c = rows(3, FEATURES).requires_grad_(), rows(3, 2, seed=9).requires_grad_()
    assert torch.autograd.gradcheck(getattr(made, direction), (x, c), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("case", "direction"), MAPS_AND_DIRECTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_is_not_finite_gets_through(case, direction, dtype):
    """In the number or in one of the parameters: no kernel makes a density out of a nan."""
    map = case.build().bind(3).to(dtype)
    x, raw = plain_numbers(map, 40, 0.5, dtype)
    x[3, 1] = torch.nan
    raw[5, 2] = torch.nan
    z, log_derivative = getattr(map, direction)(x, raw)
    with kernels.disabled():
        want, log_want = getattr(map, direction)(x, raw)
    assert bool(z[3, 1].isnan())
    # the parameters of a single bin whose ends are fixed do nothing
    assert bool(z[5, 2].isnan() | log_derivative[5, 2].isnan()) or case.name.endswith("identity-1")
    assert torch.equal(z.isnan(), want.isnan())
    assert torch.equal(log_derivative.isnan(), log_want.isnan())


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_a_weight_that_is_not_finite_gets_through(case, direction):
    made = layer(case, 0)
    if direction == "inverse" and not made.map.formula.closed:
        pytest.skip("a numeric inverse refuses it with an error")
    with torch.no_grad():
        made.network.last.bias[0] = torch.nan
        z, logdet = getattr(made, direction)(rows(40, FEATURES))
    assert bool((z.isnan().any(-1) | logdet.isnan()).all())
