"""Curves through quantiles: monotone, the same in both directions, and like the data."""

import math

import pytest
import torch
from torch.testing import assert_close

from pushforward.numerics.quantile_table import quantile_table, scores, values


def data(name, n=2_000):
    draws = torch.Generator().manual_seed(0)
    normal = torch.randn(n, generator=draws, dtype=torch.float64)
    even = torch.rand(n, generator=draws, dtype=torch.float64)
    return {
        "normal": 5.0 + 2.0 * normal,
        "skewed": (2.0 * normal).exp(),
        "lumps": 0.1 * normal + torch.where(even < 0.3, 0.0, 50.0),
        "ties": (3.0 * even).floor(),
        "half-zero": torch.where(even < 0.5, 0.0, normal.exp()),
        "nearly-constant": torch.where(torch.arange(n) == 7, 1.0, 3.0).double(),
        "constant": torch.full((n,), 3.0).double(),
        "large": 1e9 + normal,
        "tiny": 1e-9 * normal,
        "few": normal[:2].repeat(n)[:n],
    }[name]


NAMES = ["normal", "skewed", "lumps", "ties", "half-zero", "nearly-constant", "constant", "large"]
NAMES += ["tiny", "few"]
every_kind = pytest.mark.parametrize("name", NAMES)


def made(name, knots=17, size=33):
    return quantile_table(data(name)[:, None], knots, size)


def around(table, beyond=3.0, n=999):
    """Numbers from some way below the first knot to some way above the last."""
    low, high = float(table.x[0, 0]), float(table.x[0, -1])
    more = beyond * (high - low)
    return torch.linspace(low - more, high + more, n, dtype=torch.float64)[:, None]


@every_kind
def test_knots_increase_and_slopes_are_positive(name):
    table = made(name)
    for part in table:
        assert part.shape == (1, 33)
        assert bool(part.isfinite().all())
    assert bool((table.x.diff() > 0).all())
    assert bool((table.z.diff() > 0).all())
    assert bool((table.slope > 0).all())


@every_kind
def test_scores_increase_with_numbers(name):
    table = made(name)
    z, log_slope = scores(table, around(table))
    assert bool((z.diff(dim=0) > 0).all())
    assert bool(log_slope.isfinite().all())


@every_kind
def test_there_and_back_again(name):
    table = made(name)
    x = around(table)
    z, up = scores(table, x)
    back, down = values(table, z)
    spread = float(table.x[0, -1] - table.x[0, 0])
    # the numbers of a column have sixteen digits, those of one far from zero fewer after its point
    size = float(x.abs().max())
    assert_close(back, x, atol=1e-9 * spread + 4e-15 * size * 10, rtol=0)
    assert_close(up, -down, atol=1e-5, rtol=0)
    z = torch.linspace(-9.0, 9.0, 501, dtype=torch.float64)[:, None]
    assert_close(scores(table, values(table, z)[0])[0], z, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["normal", "skewed", "lumps", "ties", "half-zero"])
def test_there_and_back_again_in_single_precision(name):
    table = type(made(name))(*(part.float() for part in made(name)))
    z = torch.linspace(-4.0, 4.0, 501)[:, None]
    x, _ = values(table, z)
    assert x.dtype == torch.float32
    # a gap between lumps has a slope of some hundred
    assert_close(scores(table, x)[0], z, atol=2e-3, rtol=0)


@every_kind
@pytest.mark.parametrize("direction", [scores, values])
def test_the_slope_is_that_of_autograd(name, direction):
    table = made(name)
    start = around(table) if direction is scores else torch.linspace(-6, 6, 99).double()[:, None]
    moved = start.requires_grad_()
    found, log_slope = direction(table, moved)
    (gradient,) = torch.autograd.grad(found.sum(), moved)
    assert_close(gradient.log(), log_slope, atol=1e-6, rtol=0)


def test_scores_are_those_of_the_quantiles():
    table = quantile_table(data("skewed")[:, None], 17)
    x = data("skewed").sort().values
    rank = (torch.arange(len(x)) + 0.5).double() / len(x)
    z = scores(table, x[:, None])[0][:, 0]
    inside = (rank > 0.01) & (rank < 0.99)
    assert_close(torch.special.ndtr(z)[inside], rank[inside], atol=0.02, rtol=0)


def test_outside_the_knots_it_goes_on_along_lines():
    table = made("skewed")
    for end, sign in ((0, -1.0), (-1, 1.0)):
        x = table.x[0, end] + sign * torch.tensor([1.0, 1e3, 1e6], dtype=torch.float64)
        z, log_slope = scores(table, x[:, None])
        want = table.z[0, end] + table.slope[0, end] * (x - table.x[0, end])
        assert_close(z[:, 0], want, atol=0, rtol=1e-12)
        assert_close(log_slope[:, 0], table.slope[0, end].log().expand(3), atol=1e-12, rtol=0)


def test_it_is_smooth_at_its_knots():
    table = made("lumps")
    inner = table.x[0, 1:-1]
    step = 1e-9 * (table.x[0, -1] - table.x[0, 0])
    left, right = (scores(table, (inner + s * step)[:, None])[1] for s in (-1, 1))
    assert_close(left, right, atol=1e-3, rtol=0)


def test_a_number_that_is_most_of_a_column_is_one_knot():
    table = made("half-zero")
    assert int((table.x[0].abs() < 1e-6).sum()) <= 1
    z = scores(table, torch.zeros(1, 1).double())[0]
    # zero is the lower half: between the lowest rank and the middle
    assert -math.inf < float(z) < 0.0


def test_columns_do_not_see_each_other():
    both = torch.stack((data("skewed"), data("normal")), -1)
    table = quantile_table(both, 9)
    z, log_slope = scores(table, both)
    for i, name in enumerate(("skewed", "normal")):
        alone = scores(quantile_table(data(name)[:, None], 9), data(name)[:, None])
        assert_close(z[:, i : i + 1], alone[0], atol=1e-12, rtol=0)
        assert_close(log_slope[:, i : i + 1], alone[1], atol=1e-12, rtol=0)


@pytest.mark.parametrize("mean", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("rows", [100, 500, 2_000])
def test_no_row_of_whole_numbers_is_far_out(mean, rows):
    """Between two whole numbers there is nothing that a knot could lie at."""
    for seed in range(30):
        draws = torch.Generator().manual_seed(seed)
        x = torch.poisson(torch.full((rows, 1), mean), generator=draws).double()
        z, _ = scores(quantile_table(x, max(2, min(33, rows // 30)), 33), x)
        # of 60 000 normal numbers the farthest is 4.5 away, and counts have heavier tails
        assert float(z.abs().max()) < 9.0


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_a_handful_of_rows(rows):
    table = quantile_table(torch.arange(float(rows))[:, None], 2, 33)
    z, log_slope = scores(table, torch.linspace(-5, 5, 101).double()[:, None])
    assert bool((z.diff(dim=0) > 0).all())
    assert bool(log_slope.isfinite().all())
