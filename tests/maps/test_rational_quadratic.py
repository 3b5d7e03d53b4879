"""The rational-quadratic spline written out, and boxes read off the data or without an outside."""

import math

import pytest
import torch
from tests.maps.cases import BOX, raws
from torch.testing import assert_close

from pushforward import Flow
from pushforward.bases import Normal, Uniform
from pushforward.errors import ArgumentError, ShapeError
from pushforward.maps import RationalQuadratic
from pushforward.transforms import Circle, Compose, Elementwise, Inverse


def spline(tails="linear", **options):
    return RationalQuadratic(**{"bins": 8, "box": BOX, "tails": tails, **options})


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


def test_a_box_without_tails_takes_a_base_that_lies_in_it_and_no_other():
    """Of a normal base a third would lie where nothing reaches, or sit at the ends."""
    step = Elementwise(1, map=RationalQuadratic(box=1.0, tails="none"))
    with pytest.raises(ArgumentError, match="has mass on every real number, the transform reaches"):
        Flow(step, Normal(1))
    flow = Flow(step, Uniform(1, -1.0, 1.0))
    x, log_p = flow.sample_and_log_prob(200, generator=torch.Generator().manual_seed(0))
    assert bool(log_p.isfinite().all())
    assert bool((x.abs() < 1.0).all())
    assert flow.log_prob([[1.1], [-5.0]]).tolist() == [-torch.inf, -torch.inf]


def test_a_circle_takes_one_period_and_no_other():
    circle = Elementwise(1, map=RationalQuadratic(box=math.pi, tails="circular"))
    with pytest.raises(ArgumentError, match="has mass on every real number"):
        Flow(circle, Normal(1))
    with pytest.raises(ArgumentError, match=r"takes angles of period 6\.28"):
        Compose(Circle(1, period=360.0), circle)
    flow = Flow(Compose(Circle(1), circle), Uniform(1, -math.pi, math.pi))
    x = torch.linspace(-math.pi, math.pi, 1001)[:-1, None]
    assert float(flow.log_prob(x).exp().mean().detach()) * 2 * math.pi == pytest.approx(1.0)


def test_boxes_without_tails_in_a_row_must_fit():
    def box(half):
        return Elementwise(1, map=RationalQuadratic(box=half, tails="none"))

    with pytest.raises(ArgumentError, match=r"gives numbers in \[-3, 3\], the next step"):
        Compose(Inverse(box(3.0)), box(1.0))
    flow = Flow(Compose(Inverse(box(1.0)), box(1.0)), Uniform(1, -1.0, 1.0))
    assert flow.log_prob([[5.0]]).item() == -torch.inf


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
