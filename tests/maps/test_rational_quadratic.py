"""What is particular to splines: the box, its tails, and digits that must not be lost."""

import math

import pytest
import torch
from tests.maps.cases import BOX, raws
from torch.testing import assert_close

from pushforward import Flow
from pushforward.bases import Normal
from pushforward.errors import ArgumentError, ShapeError
from pushforward.maps import RationalQuadratic
from pushforward.transforms import Compose, Elementwise, Inverse


def spline(tails="linear", **options):
    return RationalQuadratic(**{"bins": 8, "box": BOX, "tails": tails, **options})


def column(values, dtype=torch.float64):
    return torch.as_tensor(values, dtype=dtype)[:, None]


def wild(map, rows, dtype):
    """Parameters as a network in trouble gives them: bins from almost none to almost all."""
    return raws(map, rows, spread=3.0, dtype=dtype)


@pytest.mark.parametrize("tails", ["linear", "identity", "circular", "none"])
def test_the_float32_inverse_meets_y_over_many_bins(tails):
    """The residual in y of the inverse, mapped forward exactly: no digits are lost."""
    map, rows = spline(tails), 200_000
    raw = wild(map, rows, torch.float32)
    z = torch.rand(rows, 1) * 2 * BOX - BOX
    x, log_derivative = map.inverse(z, raw)
    assert bool(log_derivative.isfinite().all())
    assert bool((x.abs() <= BOX).all())
    exact, slope = map.double()(x.double(), raw.double())
    # x and the knots are rounded to float32, seven units wide; the map amplifies that by its slope
    allowed = 2e-5 + 4e-6 * slope.exp()
    gap = (exact - z.double()).abs()
    if tails == "circular":
        gap = torch.minimum(gap, 2 * BOX - gap)
    assert float((gap / allowed).max()) < 1.0


@pytest.mark.parametrize("tails", ["linear", "identity", "circular", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_bin_makes_the_inverse_fail(tails, dtype):
    """Where rounding takes the discriminant below zero, and on the knots themselves."""
    map = spline(tails)
    raw = torch.randn(100_000, 1, map.raw_width, dtype=dtype) * 10.0
    z = column(torch.linspace(-BOX, BOX, 100_000), dtype).to(dtype)
    z[:1000] = BOX
    z[1000:2000] = -BOX
    x, log_derivative = map.to(dtype).inverse(z, raw)
    assert bool(x.isfinite().all())
    assert bool(log_derivative.isfinite().all())


def test_knots_go_to_knots():
    """The formula of the docstring at the ends of a bin: x0 to y0 with slope d0."""
    map = spline(bins=4).double()
    raw = raws(map, 1)[0, 0]
    widths, heights = (torch.softmax(raw[i : i + 4], -1) * (1 - 4e-3) + 1e-3 for i in (0, 4))
    x, y = (
        torch.cat((torch.zeros(1), sizes.cumsum(0))) * 2 * BOX - BOX for sizes in (widths, heights)
    )
    raw_slopes = raw[8:].clone()
    raw_slopes[[0, -1]] = 2 * torch.tanh(raw_slopes[[0, -1]] / 2)  # the tails are bounded
    slopes = torch.nn.functional.softplus(raw_slopes + math.log(math.expm1(0.999))) + 1e-3
    z, log_derivative = map(x[:, None], raw.expand(5, 1, -1))
    assert_close(z[:, 0], y, atol=1e-12, rtol=0)
    assert_close(log_derivative[:, 0].exp(), slopes, atol=1e-9, rtol=0)
    back, log_back = map.inverse(y[:, None], raw.expand(5, 1, -1))
    assert_close(back[:, 0], x, atol=1e-12, rtol=0)
    assert_close((-log_back[:, 0]).exp(), slopes, atol=1e-9, rtol=0)


def test_one_bin_is_the_formula_written_out():
    """One bin on [-BOX, BOX]: z = y0 + h (s q0 + d0 q) / (s + (d1 + d0 - 2 s) q) with s = 1."""
    map = spline(tails="none", bins=1).double()
    d0, d1 = 0.25, 3.0
    raw_of = lambda d: math.log(math.expm1(d - 1e-3)) - math.log(math.expm1(0.999))
    raw = torch.tensor([0.3, -0.8, raw_of(d0), raw_of(d1)], dtype=torch.float64).expand(101, 1, 4)
    xi = torch.linspace(0, 1, 101, dtype=torch.float64)
    q = xi * (1 - xi)
    want = -BOX + 2 * BOX * (xi**2 + d0 * q) / (1 + (d1 + d0 - 2) * q)
    z, log_derivative = map((2 * BOX * xi - BOX)[:, None], raw)
    assert_close(z[:, 0], want, atol=1e-12, rtol=0)
    assert_close(
        log_derivative[[0, -1], 0].exp(), torch.tensor([d0, d1]).double(), atol=1e-9, rtol=0
    )


def test_linear_tails_have_a_slope_that_far_data_can_teach():
    map = spline("linear").double()
    for far in (20.0, -20.0, 1e6):
        raw = raws(map, 1).requires_grad_()
        z, log_derivative = map(column([far]), raw)
        in_z, in_log = (
            torch.autograd.grad(out.sum(), raw, retain_graph=True)[0] for out in (z, log_derivative)
        )
        assert float(in_z.abs().max()) > 1e-3
        assert float(in_log.abs().max()) > 1e-3


def test_linear_tails_are_lines():
    map = spline("linear").double()
    for side in (1.0, -1.0):
        raw = raws(map, 1).expand(3, 1, -1)
        z, log_derivative = map(column([side * 4.0, side * 5.0, side * 6.0]), raw)
        steps = z.diff(dim=0).abs()
        assert_close(steps[0], steps[1], atol=1e-12, rtol=0)
        assert_close(log_derivative.exp(), steps[0].expand(3, 1), atol=1e-12, rtol=0)


def test_identity_tails_are_the_identity():
    map = spline("identity").double()
    x = column([-1e6, -4.0, 4.0, 1e6])
    z, log_derivative = map(x, raws(map, 4))
    assert_close(z, x, atol=1e-9, rtol=0)
    assert_close(log_derivative, torch.zeros_like(z), atol=0, rtol=0)


def test_a_circular_spline_is_a_map_of_the_circle():
    map = spline("circular").double()
    raw = raws(map, 1)
    x = column(torch.linspace(-BOX, BOX, 101)[:-1])
    one_turn = map(x, raw.expand(100, 1, -1))
    for turns in (-3, 1, 2):
        again = map(x + turns * 2 * BOX, raw.expand(100, 1, -1))
        assert_close(again, one_turn, atol=1e-9, rtol=0)
    ends = map(column([-BOX, BOX - 1e-12]), raw.expand(2, 1, -1))[1]
    assert_close(ends[0], ends[1], atol=1e-9, rtol=0)


@pytest.mark.parametrize("tails", ["circular", "none"])
def test_a_uniform_density_pulled_back_integrates_to_one(tails):
    """Over one period, or over the box: the mass of h'(x) / (2 BOX)."""
    map = spline(tails).double()
    raw = raws(map, 1, spread=1.0)
    edges = torch.linspace(-BOX, BOX, 200_001, dtype=torch.float64)
    x = ((edges[1:] + edges[:-1]) / 2)[:, None]
    slope = map(x, raw.expand(len(x), 1, -1))[1].exp()
    assert float(slope.mean()) == pytest.approx(1.0, abs=1e-6)


def test_without_tails_there_is_nothing_outside():
    map = spline("none").double()
    x = column([-1e6, -BOX - 1e-6, BOX + 1e-6, 1e6]).requires_grad_()
    for apply in (map.forward, map.inverse):
        z, log_derivative = apply(x, raws(map, 4))
        assert torch.equal(log_derivative, torch.full((4, 1), -torch.inf).double())
        assert bool(z.isfinite().all())


def test_draws_outside_a_box_without_tails_have_no_density():
    flow = Flow(Elementwise(1, map=RationalQuadratic(box=1.0, tails="none")), Normal(1))
    x, log_p = flow.sample_and_log_prob(200, generator=torch.Generator().manual_seed(0))
    assert bool((log_p == -torch.inf).any())
    assert torch.equal(log_p > -torch.inf, x.abs()[:, 0] < 1.0)


def test_boxes_without_tails_in_a_row_have_no_density_outside_either():
    def box(half):
        return Elementwise(1, map=RationalQuadratic(box=half, tails="none"))

    for transform in (Inverse(box(1.0)), Compose(Inverse(box(3.0)), box(1.0))):
        flow = Flow(transform, Normal(1))
        assert flow.log_prob([[5.0]]).item() == -torch.inf
        _, log_p = flow.sample_and_log_prob(200, generator=torch.Generator().manual_seed(0))
        assert bool((log_p < torch.inf).all())


def test_bins_keep_their_least_size_however_far_they_are_driven():
    map = spline(bins=4).double()
    raw = torch.zeros(1001, 1, map.raw_width, dtype=torch.float64)
    raw[..., 0] = 1e4
    raw[..., 7] = 1e4
    raw[..., 8:] = -1e4
    z, log_derivative = map(column(torch.linspace(-BOX, BOX, 1001)), raw)
    assert bool(z.isfinite().all())
    assert bool(log_derivative.isfinite().all())
    assert bool((z.diff(dim=0) > 0).all())


def test_the_box_is_read_off_the_data():
    x = torch.randn(20_000, 2) * torch.tensor([1.0, 100.0])
    map = RationalQuadratic().bind(2).fit(x)
    inside = ((x > map.low) & (x < map.high)).float().mean(0)
    assert bool((inside > 0.998).all())
    assert 50.0 < float(map.high[1] / map.high[0]) < 200.0


def test_a_box_that_was_given_stays():
    map = RationalQuadratic(box=2.0).bind(1).fit(torch.randn(100, 1) * 50.0)
    assert float(map.low) == -2.0
    assert float(map.high) == 2.0


def test_data_of_another_width_is_refused():
    with pytest.raises(ShapeError, match=r"x has 3 features.*bound to 2; call bind\(3\) first"):
        RationalQuadratic().bind(2).fit(torch.randn(10, 3))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bins": 0}, "bins is 0, expected at least 1"),
        ({"tails": "flat"}, "tails is 'flat', expected one of linear, identity, circular, none"),
        ({"box": -1.0}, "box is -1.0, expected a positive number"),
        ({"bins": 2000}, "leave no room for 2000 bins"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_are_refused(options, says):
    with pytest.raises(ArgumentError, match=says):
        RationalQuadratic(**options)


def test_tails_cannot_explode():
    """However far a network extrapolates, one spline stretches the far tail by 2.6 at most."""
    map = spline()
    raw = torch.full((2, 1, map.raw_width), 50.0)
    x = torch.tensor([[-1e4], [1e4]])
    assert float(map(x, raw)[0].abs().max()) < 2.7e4
    assert float(map(x, -raw)[0].abs().min()) > 0.2e4
