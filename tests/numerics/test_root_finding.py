"""The one numeric inverse: it converges, says where it does not, and knows its derivatives."""

import math

import pytest
import torch
from torch.testing import assert_close

from pushforward.errors import InverseError
from pushforward.numerics.solvers.root_finding import increasing_root

# Each: value and log-slope, increasing from -inf to inf.
FUNCTIONS = {
    "identity": lambda x: (x, torch.zeros_like(x)),
    "steep": lambda x: (1e6 * x + 3.0, torch.full_like(x, math.log(1e6))),
    "flat": lambda x: (1e-6 * x - 3.0, torch.full_like(x, math.log(1e-6))),
    "cube": lambda x: (x + x**3, torch.log1p(3 * x**2)),
    "sinh": lambda x: (torch.sinh(x), torch.log(torch.cosh(x))),
    "asinh": lambda x: (torch.asinh(x), -0.5 * torch.log1p(x * x)),
    "step": lambda x: (
        0.01 * x + 30 * torch.tanh(40 * x),
        (0.01 + 1200 / torch.cosh((40 * x).clamp(-40, 40)) ** 2).log(),
    ),
    "kink": lambda x: (
        torch.where(x > 0, 50 * x, 0.02 * x),
        torch.where(x > 0, math.log(50.0), math.log(0.02)),
    ),
    "waves": lambda x: (x + 0.99 * torch.sin(x), torch.log1p(0.99 * torch.cos(x))),
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)
TARGETS = [0.0, -0.0, 1e-40, 1e-3, 0.5, -0.7, 3.0, -11.0, 29.0, 1e3, -1e5]


def targets(name, dtype):
    """For asinh only those whose solution is a number."""
    reach = 80.0 if name == "asinh" else 1e6
    return torch.tensor([t for t in TARGETS if abs(t) < reach], dtype=dtype)


@every_function
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_it_meets_the_target(name, dtype):
    function, target = FUNCTIONS[name], targets(name, dtype)
    x = increasing_root(function, target, who="test")
    value, log_slope = function(x)
    eps = torch.finfo(dtype).eps
    # what a rounding of x makes of the value, and a rounding of the value
    allowed = 20 * eps * (log_slope.exp() * (1 + x.abs()) + target.abs() + 100.0)
    assert bool(((value - target).abs() <= allowed).all())


@every_function
def test_any_guess_will_do(name):
    function, target = FUNCTIONS[name], targets(name, torch.float64)
    want = increasing_root(function, target, who="test")
    for guess in (0.0, 1e3, -1e6):
        got = increasing_root(function, target, who="test", guess=torch.full_like(target, guess))
        assert_close(got, want, atol=1e-9, rtol=1e-9)


def test_far_targets_are_far_and_not_clipped():
    """What a library that searches [-10, 10] gets wrong in silence."""
    x = torch.tensor([20.0, -15.0, 1e9], dtype=torch.float64)
    value, _ = FUNCTIONS["waves"](x)
    assert_close(increasing_root(FUNCTIONS["waves"], value, who="test"), x, atol=0, rtol=1e-12)


def test_what_is_not_finite_comes_back_as_it_is_and_alone():
    target = torch.tensor([math.nan, 2.0, math.inf, -math.inf])
    x = increasing_root(FUNCTIONS["cube"], target, who="test")
    assert math.isnan(x[0])
    assert_close(x[1], torch.tensor(1.0))
    assert x[2:].tolist() == [math.inf, -math.inf]


def test_without_a_solution_it_raises():
    bounded = lambda x: (torch.tanh(x), -2.0 * torch.log(torch.cosh(x)))
    with pytest.raises(InverseError, match=r"Bounded\.inverse: .* for 1 of 2 numbers"):
        increasing_root(bounded, torch.tensor([0.5, 2.0]), who="Bounded.inverse")


def test_where_nobody_can_look_what_did_not_converge_is_nan():
    bounded = lambda x: (torch.tanh(x), -2.0 * torch.log(torch.cosh(x)))
    solve = torch.func.vmap(lambda t: increasing_root(bounded, t, who="test"))
    x = solve(torch.tensor([0.5, 2.0]))
    assert_close(x[0], torch.tensor(0.5).atanh())
    assert math.isnan(x[1])


def cubic(a):
    return lambda x: (a * x + x**3, torch.log(a + 3 * x**2))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_gradients_are_those_of_the_inverse_in_every_mode():
    """x(a, z) with a x + x^3 = z: dx/dz = 1 / (a + 3 x^2), dx/da = -x / (a + 3 x^2), and so on."""
    solve = lambda a, z: increasing_root(cubic(a), z, who="test")
    a, z = torch.tensor(0.7).double(), torch.tensor(-2.0).double()
    x = solve(a, z)
    slope = a + 3 * x**2
    dz, da = 1 / slope, -x / slope
    dzz, dza = -6 * x * dz**3, -(1 + 6 * x * da) * dz**2
    for mode in (torch.func.jacrev, torch.func.jacfwd):
        assert_close(torch.stack(mode(solve, (0, 1))(a, z)), torch.stack((da, dz)))
    a.requires_grad_()
    z.requires_grad_()
    first = torch.autograd.grad(solve(a, z), z, create_graph=True)[0]
    second = torch.autograd.grad(first, (z, a), create_graph=True)
    assert_close(torch.stack(second), torch.stack((dzz, dza)))
    assert torch.autograd.gradgradcheck(solve, (a, z))
    third = torch.autograd.grad(second[0], z)[0]
    x = x.detach()
    dzzz = -6 * dz**4 + 108 * x**2 * dz**5
    assert_close(third, dzzz.detach())


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_hessians_agree():
    f = lambda v: increasing_root(cubic(v[0] ** 2), v[1], who="test")
    v = torch.tensor([0.9, 1.3]).double()
    assert_close(torch.func.hessian(f)(v), torch.autograd.functional.hessian(f, v))


def test_vmap_over_what_the_function_knows():
    a = torch.tensor([0.1, 1.0, 9.0])
    z = torch.tensor([4.0, -4.0, 100.0])
    mapped = torch.func.vmap(lambda a, z: increasing_root(cubic(a), z, who="test"))(a, z)
    assert_close(mapped, increasing_root(cubic(a), z, who="test"))


def test_compiled_in_one_graph():
    solve = lambda z: increasing_root(FUNCTIONS["waves"], z, who="test")
    z = torch.linspace(-30, 30, 50, dtype=torch.float64)
    torch.compiler.reset()
    compiled = torch.compile(solve, fullgraph=True, backend="aot_eager")
    assert_close(compiled(z), solve(z), atol=1e-9, rtol=1e-9)


def test_it_is_quick():
    """Smooth functions take about as many evaluations as Newton's method does."""
    calls = 0

    def counted(x):
        nonlocal calls
        calls += 1
        return FUNCTIONS["sinh"](x)

    increasing_root(counted, torch.linspace(-5, 5, 1000).double(), who="test")
    assert calls < 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [10.0, 100.0])
def test_values_rounded_more_than_their_size_says_are_no_reason_to_go_on(dtype, size):
    """The last Newton steps are then as long as the rounding, and never shorter."""
    calls = 0

    def rounded(x):
        nonlocal calls
        calls += 1
        return (0.1 * torch.sinh(x) + size) - size, torch.log(0.1 * torch.cosh(x))

    want = torch.linspace(-4, 4, 4000).to(dtype)
    target = rounded(want)[0]
    calls = 0
    x = increasing_root(rounded, target, who="test")
    assert calls < 20
    assert_close(x, want, atol=20 * size * torch.finfo(dtype).eps, rtol=0)
