"""Student's t: its tails, its degrees of freedom, and where fit puts them."""

import math
from fractions import Fraction

import pytest
import torch
from scipy import integrate, stats
from torch.testing import assert_close

import pushforward as pf
from pushforward import bases, maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError
from pushforward.numerics.tails.student_t import log_gamma_ratio, most_likely

DEGREES = [0.11, 0.5, 1.0, 3.0, 30.0, 1e3, 1e4, 1e8]


def student(df, rows, features=1, seed=0):
    torch.manual_seed(seed)
    return torch.distributions.StudentT(torch.tensor(df).double()).sample((rows, features))


@pytest.mark.parametrize("df", DEGREES)
def test_the_density_is_accurate_for_any_degrees_of_freedom(df):
    z = torch.tensor([0.0, 0.3, 1.0, 5.0, 100.0, 1e6, 1e18], dtype=torch.float64)[:, None]
    exact = bases.StudentT(1, df=torch.tensor(df, dtype=torch.float64)).double()
    want = torch.from_numpy(stats.t(float(exact.df.detach())).logpdf(z[:, 0].numpy()))
    assert_close(exact.log_prob(z).detach(), want, rtol=1e-10, atol=1e-10)
    single = bases.StudentT(1, df=df).log_prob(z.float()).detach().double()
    assert_close(single, want, rtol=3e-6, atol=3e-6)  # df itself is rounded: 1e-6 at 1e8


def test_the_ratio_of_gamma_functions_keeps_its_digits():
    """At whole numbers the ratio is n C(2n, n) sqrt(pi) / 4^n."""
    for n in (1, 2, 7, 8, 50, 5000):
        exact = float(Fraction(n * math.comb(2 * n, n), 4**n)) * math.sqrt(math.pi / n)
        for dtype, digits in ((torch.float64, 3e-15), (torch.float32, 5e-7)):
            found = log_gamma_ratio(torch.tensor(float(n), dtype=dtype))
            assert abs(float(found) - math.log(exact)) < digits
    a = torch.tensor([0.05, 0.7, 3.0, 40.0], dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(log_gamma_ratio(a).sum(), a)[0]
    assert_close(slope, torch.digamma(a + 0.5) - torch.digamma(a) - 0.5 / a, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("df", [0.3, 3.0, 30.0])
def test_gradients_of_draws_are_those_of_an_expectation(df):
    """d/d(df) of E log(1 + z^2), by quadrature and by draws."""

    def expectation(df):
        density = stats.t(df).pdf
        inside = lambda u: math.log1p(math.exp(2 * u)) * density(math.exp(u)) * math.exp(u)
        return 2 * integrate.quad(inside, -30, 60, limit=400)[0]

    step = 1e-3 * df
    want = (expectation(df + step) - expectation(df - step)) / (2 * step)
    base = bases.StudentT(1, df=df).double()
    draws = base.rsample(200_000, generator=torch.Generator().manual_seed(0))
    value = torch.nn.functional.softplus(2.0 * draws.abs().log())  # log(1 + z^2) of any z
    found = torch.autograd.grad(value.mean(), base.raw_df)[0] / (df - 0.1)
    assert float(found) == pytest.approx(want, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_draws_with_few_degrees_of_freedom_are_finite_and_as_wide_as_they_should_be(dtype):
    base = bases.StudentT(1, df=0.15).to(dtype)
    draws = base.rsample(100_000, generator=torch.Generator().manual_seed(0)).detach()
    assert bool(draws.isfinite().all())
    assert bool(draws.isfinite().all())
    far = float((draws.abs() > 1e8).double().mean())
    assert far == pytest.approx(2 * stats.t(0.15).sf(1e8), rel=0.1)
    log_p = base.log_prob(draws)
    assert bool(log_p.isfinite().all())


@pytest.mark.parametrize("df", [0.5, 1.0, 3.0, 10.0])
def test_fit_finds_degrees_of_freedom_location_and_scale(df):
    z = 4.0 * student(df, 16_384, 3) + torch.tensor([0.0, 5.0, -100.0])
    base = bases.StudentT(3).fit(z)
    assert_close(base.df.detach().double(), torch.full((3,), df).double(), rtol=0.15, atol=0)
    assert_close(
        base.loc.detach().double(), torch.tensor([0.0, 5.0, -100.0]).double(), atol=0.3, rtol=0
    )
    assert_close(base.log_scale.detach().exp(), torch.full((3,), 4.0), rtol=0.08, atol=0)


def test_fit_is_the_maximum_of_the_likelihood():
    z = 3.0 * student(2.5, 2000) - 7.0
    df, loc, scale = (float(v) for v in most_likely(z))
    by_scipy = stats.t.fit(z[:, 0].numpy(), 3.0, loc=-7.0, scale=3.0)
    assert (df, loc, scale) == pytest.approx(by_scipy, rel=2e-3)


@pytest.mark.parametrize("rows", ["equal", "two", "mostly equal", "whole", "uniform", "far"])
def test_rows_of_any_kind_give_a_finite_density(rows):
    noise = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    z = {
        "equal": torch.ones(100, 2),
        "two": noise[:2],
        "mostly equal": torch.where(torch.arange(1000)[:, None] < 900, 1.0, noise),
        "whole": noise.round(),
        "uniform": noise.sigmoid(),
        "far": torch.cat((noise, torch.tensor([[1e20, -1e12]]))),
    }[rows]
    base = bases.StudentT(2).fit(z)
    assert bool(base.log_prob(z).isfinite().all())
    assert float(base.df.detach().min()) > 0.1


def test_light_tails_get_many_degrees_of_freedom():
    z = torch.rand(2000, 1, generator=torch.Generator().manual_seed(0))
    assert float(bases.StudentT(1).fit(z).df.detach()) > 1e3


def test_far_rows_tell_the_index_where_something_else_spreads_the_others():
    """By the likelihood of all rows it is 7 and 8."""
    t, other = student(3.0, 16_384, 2), student(3.0, 16_384, seed=1)
    spread = torch.cat((2.0 * other.sin(), 2.0 * torch.randn(16_384, 1).double()), 1)
    found = bases.StudentT(2).fit(t + spread).df.detach()
    assert float(most_likely(t + spread)[0].min()) > 6.0
    # 82 far rows; a normal shift reaches farther out than a bounded one
    assert float(found[0]) == pytest.approx(3.0, rel=0.35)
    assert float(found[1]) == pytest.approx(3.0, rel=0.5)


def test_a_few_mistakes_among_the_rows_tell_nothing_of_the_tails():
    z = student(10.0, 16_384)
    z[:3] = 1e12
    found = bases.StudentT(1).fit(z).df.detach().double()
    assert_close(found, most_likely(z)[0], rtol=1e-5, atol=0)


def test_what_does_not_learn_is_not_placed():
    base = bases.StudentT(1, df=7.0, learn=False).fit(student(1.0, 100))
    assert float(base.df) == pytest.approx(7.0)
    with pytest.raises(ArgumentError, match=r"StudentT.fit: got 1 rows, expected at least 2"):
        bases.StudentT(1).fit(torch.zeros(1, 1))


def test_a_flow_keeps_the_tail_index_of_its_data():
    """Through splines with linear tails, in two features of different tails."""
    torch.manual_seed(0)
    df = torch.tensor([3.0, 1.5])
    x = torch.distributions.StudentT(df).sample((20_000,))
    coupling = lambda keep: T.Coupling(2, map=maps.RationalQuadratic(), keep=keep, hidden=(16,))
    layers = (coupling([True, False]), coupling([False, True]))
    flow = pf.Flow(T.Compose(T.Standardize(2), *layers), bases.StudentT(2))
    pf.fit(flow, x, steps=100, progress=False)
    assert_close(flow.base.df.detach(), df, rtol=0.15, atol=0)
