"""The inverse of a contraction added to the identity."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close

from pushforward.errors import InverseError
from pushforward.numerics.solvers.fixed_point import _newton_search, contraction_inverse


@dataclass(frozen=True)
class Matrix:
    value: torch.Tensor

    def matrix(self):
        return self.value

    def push(self, v):
        return (self.value @ v.unsqueeze(-1)).squeeze(-1)


def sine(rate):
    """x to ``rate sin(A x)``, A a rotation."""
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)

    def function(x):
        inside = x @ turn.mT.to(x.dtype)
        return rate * torch.sin(inside), Matrix(
            rate * inside.cos().unsqueeze(-1) * turn.to(x.dtype)
        )

    return function


POINTS = torch.tensor([[0.0, 0.0], [1.0, -2.0], [50.0, 3.0], [1e6, -1e6], [1e-40, 0.0]])


@pytest.mark.parametrize("rate", [0.1, 0.9, 0.99])
@pytest.mark.parametrize("newton", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_it_meets_the_target(rate, newton, dtype):
    function, x = sine(rate), POINTS.to(dtype)
    z = x + function(x)[0]
    got = contraction_inverse(function, z, rate=rate, newton=newton, who="test")
    again = got + function(got)[0]
    assert_close(again, z, atol=8 * torch.finfo(dtype).eps, rtol=8 * torch.finfo(dtype).eps)


def test_banach_takes_over_where_newton_fails():
    """Steps by a Jacobian that is wrong everywhere still converge, and to the same."""
    right = sine(0.9)

    def wrong(x):
        value, jacobian = right(x)
        return value, Matrix(-0.9 * torch.eye(2, dtype=x.dtype).expand_as(jacobian.value))

    z = POINTS.double()
    want = contraction_inverse(right, z, rate=0.9, newton=True, who="test")
    got, done, _ = _newton_search(wrong, z, z, rate=0.9, most=300, looking=True)
    assert bool(done.all())
    assert_close(got, want, atol=1e-8, rtol=1e-8)


def test_it_is_quick_where_the_jacobian_is_known():
    calls = 0
    right = sine(0.99)

    def counted(x):
        nonlocal calls
        calls += 1
        return right(x)

    contraction_inverse(
        counted, 3.0 * torch.randn(1000, 2).double(), rate=0.99, newton=True, who="test"
    )
    assert calls < 40


def constant():
    """``x + g(x) = 1`` everywhere: no contraction, and other targets have no solution."""
    return lambda x: (1.0 - x, sine(0.5)(x)[1])


@pytest.mark.parametrize("newton", [True, False])
def test_without_a_solution_it_raises(newton):
    z = torch.tensor([[3.0, 3.0], [1.0, 1.0], [0.0, 1.0]]).double()
    with pytest.raises(InverseError, match=r"who: .* for 2 of 3 rows in \d+ steps; use float64"):
        contraction_inverse(constant(), z, rate=0.5, newton=newton, who="who")


@pytest.mark.parametrize("newton", [True, False])
def test_rows_that_are_not_finite_come_back_alone(newton):
    z = torch.tensor([[math.nan, 1.0], [1.0, 2.0], [math.inf, 0.0]]).double()
    x = contraction_inverse(sine(0.5), z, rate=0.5, newton=newton, who="test")
    alone = contraction_inverse(sine(0.5), z[1:2], rate=0.5, newton=newton, who="test")
    assert_close(x[1:2], alone, atol=1e-15, rtol=0)
    assert x[0].isnan().any()
    assert x[2, 0] == math.inf


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("newton", [True, False])
def test_gradients_are_those_of_the_inverse(newton):
    def solve(z, rate):
        return contraction_inverse(sine(rate), z, rate=0.95, newton=newton, who="test")

    z = torch.tensor([[1.0, -2.0], [0.3, 0.4]]).double().requires_grad_()
    rate = torch.tensor(0.8).double().requires_grad_()
    assert torch.autograd.gradcheck(solve, (z, rate), check_forward_ad=True, atol=1e-7)
    if newton:
        assert torch.autograd.gradgradcheck(solve, (z, rate))


@pytest.mark.parametrize("newton", [True, False])
def test_vmap_is_the_loop(newton):
    solve = lambda z: contraction_inverse(sine(0.7), z, rate=0.7, newton=newton, who="test")
    z = torch.randn(6, 2).double()
    assert_close(torch.func.vmap(solve)(z), solve(z), atol=1e-12, rtol=0)


def test_where_nobody_can_look_what_did_not_converge_is_nan():
    solve = lambda z: contraction_inverse(constant(), z, rate=0.5, newton=True, who="test")
    assert bool(torch.func.vmap(solve)(3.0 * torch.ones(2, 2).double()).isnan().all())
