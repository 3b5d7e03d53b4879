"""The tail transform: what is normal in z has Pareto tails in x."""

import math

import pytest
import torch
from scipy import special, stats
from torch.testing import assert_close

import pushforward as pf
from pushforward import bases, maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError, DataError, ShapeError
from pushforward.numerics.tails.hill import hill
from pushforward.numerics.tails.normal import log_hazard, rarity, rarity_inverse


def placed(loc, scale, below, above):
    """A map with given parameters, all of them constants."""
    map = maps.GeneralizedPareto().double()
    map.loc.fill_(loc)
    map.scale.fill_(scale)
    map.tails.copy_(torch.tensor([below, above]))
    return map, lambda x: torch.zeros(*x.shape, 4).double()


def test_it_is_the_formula_of_the_paper():
    """R(z) = m + s sign(z) (erfc(|z| / sqrt 2)^-l - 1) / l, with another l on either side."""
    map, raw = placed(0.3, 2.0, 0.2, 0.6)
    z = torch.linspace(-7, 7, 201, dtype=torch.float64)[:, None]
    rare = torch.from_numpy(special.erfc(z.abs().numpy() / math.sqrt(2)))
    tail = torch.where(z < 0, 0.2, 0.6).double()
    want = 0.3 + 2.0 * z.sign() * (rare**-tail - 1) / tail
    assert_close(map.inverse(z, raw(z))[0], want, rtol=1e-12, atol=1e-12)


def test_a_normal_number_becomes_a_pareto_number():
    """Either half of the image of a normal density is the generalized Pareto density."""
    map, raw = placed(1.0, 2.0, 0.2, 0.6)
    x = torch.tensor([[-1e3], [-5.0], [0.5], [1.5], [40.0], [1e5]]).double()
    z, log_derivative = map(x, raw(x))
    log_p = bases.Normal(1).double().log_prob(z) + log_derivative[:, 0]
    far, tail = (x - 1.0).abs()[:, 0], torch.where(x[:, 0] < 1.0, 0.2, 0.6).double()
    want = stats.genpareto.logpdf(far.numpy(), tail.numpy(), scale=2.0) - math.log(2)
    assert_close(log_p, torch.from_numpy(want), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_rarity_of_a_normal_number_and_back(dtype):
    z = torch.cat((torch.logspace(-30, 0, 61), torch.linspace(0.5, 140, 2000))).to(dtype)
    exact = -(special.log_ndtr(-z.double().numpy()) + math.log(2))
    want = torch.from_numpy(exact)
    near = z < 0.1  # there SciPy's logarithm of nearly 1 has lost digits: the series has not
    series = z.double() * math.sqrt(2 / math.pi) * (1 + z.double() / math.sqrt(2 * math.pi))
    digits = 4 * torch.finfo(dtype).eps
    assert_close(rarity(z)[~near].double(), want[~near], rtol=max(digits, 1e-13), atol=0)
    assert_close(rarity(z)[near].double(), series[near], rtol=max(digits, 2e-3), atol=0)
    tiny = z < 1e-6
    assert_close(rarity(z)[tiny].double(), series[tiny], rtol=max(digits, 1e-11), atol=0)
    assert_close(rarity_inverse(rarity(z)), z, rtol=digits, atol=0)
    assert float(rarity_inverse(torch.zeros((), dtype=dtype))) == 0.0


def test_derivatives_of_the_inverse_are_right_to_the_third():
    e = torch.tensor([1e-3, 0.3, 2.0, 39.9, 40.1, 300.0], dtype=torch.float64)
    z = rarity_inverse(e)
    derivative = lambda f: torch.func.vmap(torch.func.grad(f))
    first = derivative(rarity_inverse)(e)
    assert_close(first, (-log_hazard(z)).exp(), rtol=1e-10, atol=0)
    # z' = 1 / h, z'' = -h' / h^3 and so on, with h' = h (h - z) of the normal density
    h = log_hazard(z).exp()
    bend = h * (h - z)
    second = derivative(torch.func.grad(rarity_inverse))(e)
    assert_close(second, -bend / h**3, rtol=1e-6, atol=1e-12)
    by_step = (derivative(torch.func.grad(rarity_inverse))(e + 1e-5) - second) / 1e-5
    third = derivative(torch.func.grad(torch.func.grad(rarity_inverse)))(e)
    assert_close(third, by_step, rtol=1e-2, atol=1e-8)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_second_derivatives_are_those_of_small_steps(direction):
    map = maps.GeneralizedPareto().double()
    x = torch.tensor([[-9.0], [-0.3], [0.7], [20.0]], dtype=torch.float64, requires_grad=True)
    raw = torch.randn(4, 1, 4, generator=torch.Generator().manual_seed(0)).double()
    raw = (0.5 * raw).requires_grad_()
    x = x if direction == "forward" else (0.3 * x).detach().requires_grad_()
    assert torch.autograd.gradgradcheck(getattr(map, direction), (x, raw), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_far_numbers_come_back_both_ways(dtype):
    map = maps.GeneralizedPareto().to(dtype)
    raw = torch.randn(2000, 1, 4, generator=torch.Generator().manual_seed(0)).to(dtype) * 2
    for far in (20.0, -30.0, 1e3, 1e6):
        z = torch.full((2000, 1), far, dtype=dtype)
        x, log_there = map.inverse(z, raw)
        back, log_back = map(x, raw)
        assert bool(x.isfinite().all())
        assert_close(back, z, rtol=100 * torch.finfo(dtype).eps, atol=0)
        assert_close(log_back, -log_there, rtol=1e-4, atol=1e-4)
    for far in (1e6, -1e12, 1e30):
        z, log_derivative = map(torch.full((2000, 1), far, dtype=dtype), raw)
        assert bool(z.isfinite().all())
        assert bool(log_derivative.isfinite().all())
    z, _ = map(torch.full((2000, 1), 1e6, dtype=dtype), raw)
    assert float(z.max()) < 100.0


def test_value_and_slope_go_on_where_the_line_begins_and_at_the_centre():
    map = maps.GeneralizedPareto().double()
    raw = torch.randn(300, 1, 4, generator=torch.Generator().manual_seed(0)).double()
    tails = map.tails_at(raw)
    for end in (
        -(100 / tails[..., 0]).sqrt(),
        (100 / tails[..., 1]).sqrt(),
        torch.zeros(300, 1).double(),
    ):
        step = 1e-9 * (1 + end.abs())
        left, at, right = (map.inverse(place, raw) for place in (end - step, end, end + step))
        assert_close(right[0], left[0], rtol=1e-6, atol=1e-6)
        assert_close(right[1], left[1], rtol=0, atol=1e-6)
        there = [map(found[0], raw) for found in (left, at, right)]
        assert_close(there[2][1], there[0][1], rtol=0, atol=1e-6)
        assert_close(there[1][0], end, rtol=1e-12, atol=1e-9)


def student(df, rows=50_000, features=2, seed=0):
    torch.manual_seed(seed)
    return torch.distributions.StudentT(df).sample((rows, features))


@pytest.mark.parametrize("df", [1.0, 2.0, 3.0])
def test_fit_reads_the_tails_off_the_data(df):
    map = maps.GeneralizedPareto().bind(2).fit(5.0 * student(df) - 3.0)
    assert_close(map.tails, torch.full((2, 2), 1.0 / df), rtol=0.2, atol=0)
    assert_close(map.loc, torch.full((2,), -3.0), atol=0.1, rtol=0)


def test_fit_puts_far_rows_where_those_of_a_normal_density_are():
    x = 5.0 * student(3.0) - 3.0
    map = maps.GeneralizedPareto().bind(2).fit(x)
    z, _ = map(x, torch.zeros(*x.shape, 4))
    far = torch.tensor([0.005, 0.995])
    want = torch.tensor([-2.5758, 2.5758])[:, None].expand(2, 2)
    assert_close(torch.quantile(z, far, dim=0), want, atol=0.1, rtol=0)
    x[17] = torch.tensor([1e20, -1e12])  # one row disturbs nothing
    again = maps.GeneralizedPareto().bind(2).fit(x)
    assert_close(again.scale, map.scale, rtol=0.3, atol=0)


def test_a_given_tail_stays():
    map = maps.GeneralizedPareto(tail=0.7).bind(2).fit(student(3.0, 1000))
    assert map.tails.tolist() == [[pytest.approx(0.7)] * 2] * 2


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_columns_that_are_not_finite_are_refused(odd):
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    x[:4, 1] = odd
    with pytest.raises(DataError, match=r"GeneralizedPareto\.fit: column 1 of x holds values that"):
        maps.GeneralizedPareto().bind(2).fit(x)


@pytest.mark.parametrize("rows", ["equal", "one", "two", "mostly equal", "uniform"])
def test_rows_of_any_kind_give_a_finite_map(rows):
    noise = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    x = {
        "equal": torch.ones(100, 1),
        "one": noise[:1],
        "two": noise[:2],
        "mostly equal": torch.where(torch.arange(1000)[:, None] < 999, 1.0, noise),
        "uniform": noise.sigmoid(),
    }[rows]
    map = maps.GeneralizedPareto().bind(1).fit(x)
    z, log_derivative = map(x, torch.zeros(*x.shape, 4))
    assert bool(z.isfinite().all())
    assert bool(log_derivative.isfinite().all())


def test_a_flow_with_it_keeps_the_tail_index_of_its_data():
    """A Student-t(3) sample: behind splines that leave the far rows alone."""
    x = student(3.0, features=1)
    tails = T.Elementwise(1, map=maps.GeneralizedPareto())
    body = T.Elementwise(1, map=maps.RationalQuadratic(tails="identity"))
    flow = pf.Flow(T.Compose(tails, body), bases.Normal(1))
    pf.fit(flow, x, steps=150, progress=False)
    found = tails.map.tails_at(tails.raw).detach()
    assert_close(found, torch.full((1, 2), 1 / 3), rtol=0.15, atol=0)


def test_what_cannot_be_is_refused():
    for tail in (0.0, -1.0, math.nan):
        with pytest.raises(
            ArgumentError, match=r"GeneralizedPareto: tail is .*expected a positive"
        ):
            maps.GeneralizedPareto(tail)
    with pytest.raises(ShapeError, match="x has 2 features, the map is bound to 1; call bind"):
        maps.GeneralizedPareto().fit(torch.zeros(5, 2))


def test_hill_finds_the_index_of_a_pareto_sample_on_either_side():
    u = (torch.arange(50_000, dtype=torch.float64)[:, None] + 0.5) / 50_000
    x = torch.where(torch.arange(50_000)[:, None] % 2 == 0, -(u**-0.6), u**-0.9)
    assert_close(hill(x), torch.tensor([[0.6, 0.9]]).double(), rtol=0.1, atol=0)
    assert_close(hill(-100.0 * x), torch.tensor([[0.9, 0.6]]).double(), rtol=0.1, atol=0)
