"""What is particular to polynomials: their formulas, bounds of the slope, and lines outside."""

import numpy as np
import pytest
import torch
from numpy.polynomial import Polynomial
from scipy.interpolate import BPoly
from tests.maps.cases import BOX, raws
from torch.testing import assert_close

from pushforward.errors import ArgumentError
from pushforward.maps import Bernstein, SumOfSquares

X = torch.linspace(-BOX, BOX, 61, dtype=torch.float64)[:, None]
T = X[:, 0].numpy() / BOX


@pytest.mark.parametrize(("polynomials", "degree"), [(1, 1), (2, 4), (3, 7)], ids=str)
def test_a_sum_of_squares_is_the_polynomial_written_out(polynomials, degree):
    map = SumOfSquares(polynomials, degree, box=BOX).double()
    raw = raws(map, 1)
    a = raw[0, 0, :-1].reshape(polynomials, degree + 1).numpy() + map.start.numpy()
    a = a * np.sqrt(16.0 / (15.0 + (a**2).sum()))
    slope = map.min_slope + (1.0 - map.min_slope) * sum(Polynomial(row) ** 2 for row in a)
    z, log_derivative = map(X, raw.expand(61, 1, -1))
    want = BOX * slope.integ()(T) + float(raw[0, 0, -1])
    assert_close(z[:, 0], torch.from_numpy(want), atol=1e-12, rtol=0)
    assert_close(log_derivative[:, 0].exp(), torch.from_numpy(slope(T)), atol=1e-11, rtol=0)


@pytest.mark.parametrize("spread", [0.0, 0.7, 5.0, 100.0])
def test_slopes_of_a_sum_of_squares_stay_within_their_bounds(spread):
    map = SumOfSquares(box=BOX).double()
    slope = map(X, raws(map, 61, spread))[1].exp()
    assert float(slope.min()) >= 1e-2
    assert float(slope.max()) <= 16.0 * 5.0


def test_squares_do_not_begin_equal():
    map = SumOfSquares(polynomials=3, box=BOX).double()
    raw = torch.zeros(1, 1, map.raw_width, dtype=torch.float64, requires_grad=True)
    z, log_derivative = map(X, raw.expand(61, 1, -1))
    loss = (0.5 * (z - 0.3) ** 2 - log_derivative).mean()
    gradient = torch.autograd.grad(loss, raw)[0].flatten()[:-1].reshape(3, 5)
    directions = gradient / gradient.norm(dim=-1, keepdim=True)
    angles = (directions @ directions.mT).abs() - torch.eye(3)
    assert float(angles.max()) < 0.99


def increments(raw, least=1e-3, tail=2.0):
    """The slopes that the coefficients make, as the module has them."""
    raw = raw.copy()
    raw[[0, -1]] = tail * np.tanh(raw[[0, -1]] / tail)
    return np.log1p(np.exp(raw + np.log(np.expm1(1.0 - least)))) + least


@pytest.mark.parametrize("degree", [1, 2, 5, 16, 60])
def test_a_bernstein_polynomial_is_that_of_scipy(degree):
    map = Bernstein(degree, box=BOX).double()
    raw = raws(map, 1)
    slopes = increments(raw[0, 0, :-1].numpy())
    theta = np.concatenate(([0.0], slopes.cumsum())) * 2.0 * BOX / degree
    theta = theta - theta[-1] / 2.0 + float(raw[0, 0, -1])
    want = BPoly(theta[:, None], [-BOX, BOX])
    z, log_derivative = map(X, raw.expand(61, 1, -1))
    assert_close(z[:, 0], torch.from_numpy(want(X[:, 0].numpy())), atol=1e-11, rtol=0)
    slope = torch.from_numpy(want.derivative()(X[:, 0].numpy()))
    assert_close(log_derivative[:, 0].exp(), slope, atol=1e-10, rtol=0)


@pytest.mark.parametrize("spread", [5.0, 100.0])
def test_slopes_of_a_bernstein_polynomial_lie_between_its_increments(spread):
    map = Bernstein(box=BOX).double()
    raw = raws(map, 61, spread)
    slope = map(X, raw)[1].exp()[:, 0]
    for i in range(61):
        s = increments(raw[i, 0, :-1].numpy())
        assert s.min() - 1e-9 <= float(slope[i]) <= s.max() + 1e-9


@pytest.mark.parametrize("build", [SumOfSquares, Bernstein], ids=lambda cls: cls.__name__)
def test_outside_the_box_they_are_lines(build):
    map = build(box=BOX).double()
    raw = raws(map, 1).expand(3, 1, -1)
    for side in (1.0, -1.0):
        x = side * torch.tensor([[BOX], [10.0], [1e6]], dtype=torch.float64)
        z, log_derivative = map(x, raw)
        slope = (z[2] - z[0]) / (x[2] - x[0])
        assert_close(log_derivative.exp(), slope.expand(3, 1), atol=1e-9, rtol=0)


def test_tails_of_a_bernstein_polynomial_can_neither_explode_nor_vanish():
    map = Bernstein(box=BOX)
    for size in (50.0, -50.0):
        raw = torch.full((2, 1, map.raw_width), size)
        slope = map(torch.tensor([[-1e6], [1e6]]), raw)[1].exp()
        assert float(slope.min()) > 0.2
        assert float(slope.max()) < 2.7


@pytest.mark.parametrize("build", [SumOfSquares, Bernstein], ids=lambda cls: cls.__name__)
def test_at_the_end_of_the_box_the_derivative_is_counted_once(build):
    map = build(box=BOX).double()
    raw = raws(map, 2)
    x = torch.tensor([[-BOX], [BOX]], dtype=torch.float64, requires_grad=True)
    z, log_derivative = map(x, raw)
    assert_close(torch.autograd.grad(z.sum(), x)[0], log_derivative.exp(), atol=1e-12, rtol=0)


def test_boxes_are_read_off_the_data():
    x = torch.randn(20_000, 2) * torch.tensor([1.0, 100.0])
    for map in (SumOfSquares(), Bernstein()):
        bound = map.bind(2).fit(x)
        inside = ((x > bound.low) & (x < bound.high)).float().mean(0)
        assert bool((inside > 0.998).all())


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: SumOfSquares(degree=0), "degree is 0, expected at least 1"),
        (lambda: SumOfSquares(polynomials=0), "polynomials is 0, expected 1 to 5, as many as"),
        (lambda: SumOfSquares(polynomials=6), "polynomials is 6, expected 1 to 5, as many as"),
        (lambda: SumOfSquares(min_slope=0.0), "min_slope is 0.0, expected a number above 0"),
        (lambda: Bernstein(degree=0), "degree is 0, expected 1 to 60"),
        (lambda: Bernstein(degree=61), "degree is 61, expected 1 to 60"),
        (lambda: Bernstein(min_slope=2.0), "min_slope is 2.0, expected a number above 0"),
        (lambda: Bernstein(box=-1.0), "box is -1.0, expected a positive number"),
    ],
)
def test_arguments_that_cannot_be_are_refused(build, says):
    with pytest.raises(ArgumentError, match=says):
        build()
