"""What is particular to the monotone integral: its quadrature, and derivatives that ignore it."""

import pytest
import torch
from tests.maps.cases import BOX, raws
from torch.testing import assert_close

from pushforward.errors import ArgumentError
from pushforward.maps import Integral
from pushforward.numerics.gauss_legendre import floating, gauss_legendre


def log_f(map, raw, t):
    """The logarithm of the integrand as the docstring has it; t: (..., points)."""
    s, m, v = raw[..., : 3 * map.units].unflatten(-1, (3, map.units)).unsqueeze(-3).unbind(-2)
    s, m, v = 2.0 * torch.tanh(s).exp(), map.places + m, 3.0 * torch.tanh(v / 3.0)
    g = raw[..., -2, None] + (v * torch.tanh(s * (t.unsqueeze(-1) - m))).sum(-1)
    return 3.0 * torch.tanh(g / 3.0)


def reference(map, x, raw, points=400):
    nodes, weights = (floating(part, torch.float64) for part in gauss_legendre(points))
    t = (x / BOX).unsqueeze(-1)
    integral = t[..., 0] * (log_f(map, raw, t * nodes).exp() * weights).sum(-1)
    return BOX * integral + raw[..., -1]


@pytest.mark.parametrize(
    ("units", "spread", "allowed"), [(8, 0.7, 3e-10), (12, 0.7, 1e-9), (12, 3.0, 1e-5)], ids=str
)
def test_the_quadrature_is_as_good_as_it_says(units, spread, allowed):
    map = Integral(units=units, box=BOX).double()
    raw = raws(map, 3000, spread)
    x = torch.linspace(-BOX, BOX, 3000, dtype=torch.float64)[:, None]
    z, log_derivative = map(x, raw)
    assert_close(z, reference(map, x, raw), atol=allowed * BOX, rtol=0)
    assert_close(log_derivative, log_f(map, raw, x[..., None] / BOX)[..., 0], atol=1e-12, rtol=0)


def test_more_points_are_more_exact():
    raw = raws(Integral(), 500, 3.0)
    x = torch.linspace(-BOX, BOX, 500, dtype=torch.float64)[:, None]
    errors = []
    for points in (6, 12, 24, 48):
        map = Integral(points=points, box=BOX).double()
        errors.append(float((map(x, raw)[0] - reference(map, x, raw)).abs().max()))
    assert errors[0] > 10 * errors[1] > 100 * errors[2] > 1000 * errors[3]


def test_derivatives_in_x_are_those_of_the_integrand_whatever_the_quadrature():
    """Leibniz: with three points the value is poor, its derivatives up to the fourth exact."""
    map = Integral(points=3, box=BOX).double()
    raw = raws(map, 50, 1.5)
    x = torch.linspace(-3.4, 3.4, 50, dtype=torch.float64)[:, None].requires_grad_()
    y = x.detach().clone().requires_grad_()
    found, want = map(x, raw)[0], log_f(map, raw, y[..., None] / BOX)[..., 0].exp()
    (found,) = torch.autograd.grad(found.sum(), x, create_graph=True)
    for _ in range(3):
        assert_close(found, want, atol=1e-9, rtol=1e-9)
        (found,) = torch.autograd.grad(found.sum(), x, create_graph=True)
        (want,) = torch.autograd.grad(want.sum(), y, create_graph=True)
    assert_close(found, want, atol=1e-9, rtol=1e-9)


def test_mixed_derivatives_agree():
    """d/draw of dz/dx is d/dx of dz/draw, but for the quadrature."""
    map = Integral(units=3, box=BOX).double()
    raw, x = raws(map, 1, 0.5), torch.tensor([[1.3]], dtype=torch.float64)
    value = lambda x, raw: map(x, raw)[0].sum()
    one = torch.func.jacrev(torch.func.grad(value, 0), 1)(x, raw)
    other = torch.func.jacrev(torch.func.grad(value, 1), 0)(x, raw)
    assert_close(one.flatten(), other.flatten(), atol=1e-9, rtol=0)


def test_a_visit_to_float32_loses_no_digit_of_the_quadrature():
    map = Integral(box=BOX).float().double()
    x = torch.linspace(-6, 6, 50, dtype=torch.float64)[:, None]
    z, _ = map(x, torch.zeros(50, 1, map.raw_width, dtype=torch.float64))
    assert_close(z, x, atol=1e-14, rtol=0)


def test_slopes_stay_within_their_bounds():
    map = Integral(box=BOX)
    x = torch.linspace(-1e6, 1e6, 1001)[:, None]
    for spread in (5.0, 50.0):
        log_derivative = map(x, raws(map, 1001, spread, torch.float32))[1]
        assert float(log_derivative.abs().max()) <= 3.0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"units": 0}, "units is 0, expected at least 1"),
        ({"points": 1}, "points is 1, expected at least 2"),
        ({"box": 0.0}, "box is 0.0, expected a positive number"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_are_refused(options, says):
    with pytest.raises(ArgumentError, match=f"Integral: {says}"):
        Integral(**options)
