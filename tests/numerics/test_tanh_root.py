"""The root of planar and Sylvester flows."""

import math

import pytest
import torch
from torch.testing import assert_close

from pushforward.errors import InverseError
from pushforward.numerics.solvers.root_finding import increasing_root
from pushforward.numerics.solvers.tanh_root import tanh_root, tanh_slope


def problems(n, spread, dtype, least=-0.999):
    """Curves and points on them, half of them close to where the curve turns."""
    r, q = (spread * torch.randn(n, dtype=torch.float64) for _ in range(2))
    r = torch.where(r * q < least, least / q, r)
    c = 3.0 * torch.randn(n, dtype=torch.float64)
    far = torch.randn(n, dtype=torch.float64) * torch.exp(2.0 * torch.randn(n).double())
    near = -c / q + far / q * torch.exp(-12.0 * torch.rand(n).double())
    a = torch.where(torch.arange(n) % 2 == 0, far, near)
    r, q, c, a = (v.to(dtype) for v in (r, q, c, a))
    return a, (a + r * torch.tanh(q * a + c), r, q, c, (r * q).clamp_min(least))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("spread", [0.3, 3.0, 100.0])
def test_it_meets_the_target(dtype, spread):
    _, (t, r, q, c, rq) = problems(100_000, spread, dtype)
    a = tanh_root(t, r, q, c, rq, who="test")
    # A rounding of what stands in the tanh, through a slope of at most r; and of the sum.
    inside = r.abs() * tanh_slope(q * a + c) * ((q * a).abs() + c.abs())
    allowed = 8.0 * torch.finfo(dtype).eps * (t.abs() + r.abs() + a.abs() + inside)
    assert bool(((a + r * torch.tanh(q * a + c) - t).abs() <= allowed).all())


def test_it_is_the_root_that_bisection_finds():
    _, (t, r, q, c, rq) = problems(2000, 2.0, torch.float64, least=-0.9)
    slope = lambda a: torch.log1p(rq * tanh_slope(q * a + c))
    want = increasing_root(lambda a: (a + r * torch.tanh(q * a + c), slope(a)), t, who="test")
    assert_close(tanh_root(t, r, q, c, rq, who="test"), want, atol=1e-12, rtol=1e-12)


def test_numbers_that_make_a_curve_straight():
    one, zero = torch.ones(5).double(), torch.zeros(5).double()
    t = torch.tensor([0.0, -0.0, 1e9, -1e-300, 3.0]).double()
    assert_close(tanh_root(t, zero, one, one, zero, who="test"), t, atol=0, rtol=0)
    bent = t - 2.0 * math.tanh(1.0)
    assert_close(tanh_root(t, 2 * one, zero, one, zero, who="test"), bent, atol=0, rtol=1e-15)


def test_what_is_not_finite_comes_back_as_it_is_and_alone():
    t = torch.tensor([math.nan, 1.0, math.inf, -math.inf, 1.0])
    c = torch.tensor([0.0, 0.0, 0.0, 0.0, math.nan])
    one = torch.ones(5)
    a = tanh_root(t, one, one, c, one, who="test")
    assert math.isnan(a[0])
    assert_close(a[1] + a[1].tanh(), torch.tensor(1.0))
    assert a[2:4].tolist() == [math.inf, -math.inf]
    assert math.isnan(a[4])


def test_where_it_does_not_converge_it_raises():
    one = torch.ones(2).double()
    with pytest.raises(InverseError, match=r"who: the inverse did not converge for 2 of 2 numbers"):
        tanh_root(one, 4 * one, one, 0 * one, -0.9 * one, who="who")  # not the product of both


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_gradients_are_those_of_the_inverse_in_every_mode():
    def solve(t, r, q, c):
        return tanh_root(t, r, q, c, r * q, who="test")

    inputs = tuple(torch.tensor(v).double().requires_grad_() for v in (0.7, -0.6, 1.1, 0.2))
    assert torch.autograd.gradcheck(solve, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(solve, inputs)
    plain = tuple(v.detach() for v in inputs)
    by_rows = torch.func.jacrev(solve, (0, 1, 2, 3))(*plain)
    assert_close(torch.func.jacfwd(solve, (0, 1, 2, 3))(*plain), by_rows)


@pytest.mark.parametrize("spread", [0.3, 3.0, 100.0])
def test_a_fixed_number_of_steps_is_enough_where_nobody_can_look(spread):
    _, given = problems(20_000, spread, torch.float64)
    looked = tanh_root(*given, who="test")
    mapped = torch.func.vmap(lambda *p: tanh_root(*p, who="test"))(*given)
    assert_close(mapped, looked, atol=1e-9, rtol=1e-9)


def test_the_slope_of_tanh_is_right_in_its_tails():
    a = torch.tensor([0.0, 1.0, -20.0, 300.0]).double()
    assert_close(tanh_slope(a), torch.cosh(a) ** -2, atol=0, rtol=1e-12)
