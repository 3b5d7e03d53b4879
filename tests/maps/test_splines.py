"""What holds for every spline: the box, its tails, and digits that must not be lost."""

import pytest
import torch
from tests.maps.cases import BOX, raws
from torch.testing import assert_close

from pushforward.errors import ArgumentError
from pushforward.maps import Cubic, Linear, LinearRational, Quadratic, RationalQuadratic

SPLINES = [RationalQuadratic, LinearRational, Linear, Quadratic, Cubic]
TAILS = ["linear", "identity", "circular", "none"]

every_spline = pytest.mark.parametrize("cls", SPLINES, ids=lambda cls: cls.__name__)
every_tail = pytest.mark.parametrize("tails", TAILS)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
directions = pytest.mark.parametrize("direction", ["forward", "inverse"])


def spline(cls, tails="linear", **options):
    return cls(**{"bins": 8, "box": BOX, "tails": tails, **options})


def column(values, dtype=torch.float64):
    return torch.as_tensor(values, dtype=dtype)[:, None]


@every_spline
@every_tail
def test_the_float32_inverse_meets_y_over_many_bins(cls, tails):
    """No digits are lost but those of x: near it, mapped exactly, the map passes through z."""
    map, rows = spline(cls, tails), 50_000
    raw = raws(map, rows, spread=3.0, dtype=torch.float32)  # as a network in trouble gives them
    z = torch.rand(rows, 1) * 2 * BOX - BOX
    x, log_derivative = map.inverse(z, raw)
    assert bool(log_derivative.isfinite().all())
    assert bool((x.abs() <= BOX).all())
    # x and the knots are rounded to float32, seven units wide, and in z there are 2e-5 on top
    near = [(x.double() + by).clamp(-BOX, BOX * (1.0 - 1e-15)) for by in (-4e-6, 4e-6)]
    below, above = (map.double()(at, raw.double())[0] for at in near)
    assert bool((below - 2e-5 < z).all())
    assert bool((z < above + 2e-5).all())


@every_spline
@every_tail
@dtypes
def test_no_bin_makes_the_inverse_fail(cls, tails, dtype):
    """However small a bin is beside its neighbours, and on the ends of the box themselves."""
    map = spline(cls, tails)
    raw = torch.randn(50_000, 1, map.raw_width, dtype=dtype) * 10.0
    z = column(torch.linspace(-BOX, BOX, 50_000), dtype)
    z[:1000] = BOX
    z[1000:2000] = -BOX
    x, log_derivative = map.to(dtype).inverse(z, raw)
    assert bool(x.isfinite().all())
    assert bool(log_derivative.isfinite().all())


@every_spline
@every_tail
@dtypes
@directions
def test_raws_up_to_fifty_either_way_leave_everything_finite(cls, tails, dtype, direction):
    """Saturated parameters: all bins but one at their least size, slopes at the ends of theirs."""
    map = spline(cls, tails).to(dtype)
    signs = torch.randint(-1, 2, (2000, 1, map.raw_width)).to(dtype)
    raw = (50.0 * signs).requires_grad_()
    x = column(torch.linspace(-4.0, 4.0, 2000), dtype)
    x[:7, 0] = torch.tensor([BOX, -BOX, 0.0, 1e-40, -1e-40, 1e6, -1e6])
    x.requires_grad_()
    z, log_derivative = getattr(map, direction)(x, raw)
    within = log_derivative[(x.abs() <= BOX) | (tails != "none")]
    assert bool(z.isfinite().all())
    assert bool(within.isfinite().all())
    for output in (z.sum(), within.sum()):
        for gradient in torch.autograd.grad(output, (x, raw), retain_graph=True, allow_unused=True):
            assert gradient is None or bool(gradient.isfinite().all())


@every_spline
@every_tail
def test_knots_of_one_come_out_as_knots_of_the_other(cls, tails):
    """On every knot, and one rounding beside it, both directions agree to within roundings."""
    map = spline(cls, tails).double()
    raw = raws(map, 300, spread=1.0)
    places = map._knots(raw).places
    for knot in range(1, map.bins):
        x, y = (BOX * (2.0 * places[..., axis, knot] - 1.0) for axis in (0, 1))
        for toward in (-torch.inf, 0.0, torch.inf):
            at = x if toward == 0.0 else torch.nextafter(x, torch.full_like(x, toward))
            assert_close(map(at, raw)[0], y, atol=1e-12, rtol=0)
            at = y if toward == 0.0 else torch.nextafter(y, torch.full_like(y, toward))
            assert_close(map.inverse(at, raw)[0], x, atol=1e-12, rtol=0)


@every_spline
@every_tail
def test_slopes_go_on_at_the_knots_unless_the_spline_is_made_of_lines(cls, tails):
    map = spline(cls, tails).double()
    raw = raws(map, 300)
    places = map._knots(raw).places
    jumps = []
    for knot in range(1, map.bins):
        x = BOX * (2.0 * places[..., 0, knot] - 1.0)
        jumps.append(map(x + 1e-10, raw)[1] - map(x - 1e-10, raw)[1])
    largest = float(torch.stack(jumps).abs().max())
    assert largest > 1.0 if cls is Linear else largest < 1e-6


@every_spline
@directions
def test_second_derivatives_are_those_of_small_steps(cls, direction):
    """In x and raw; through the closed forms, and through the Newton steps where there are."""
    map = spline(cls, bins=2).double()
    x = column([-2.9, 0.4, 1.7, 4.2]).requires_grad_()
    raw = raws(map, len(x)).requires_grad_()
    assert torch.autograd.gradgradcheck(getattr(map, direction), (x, raw), atol=1e-5, rtol=1e-4)


@every_spline
@directions
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own forward mode
def test_a_hessian_is_the_same_by_every_way(cls, direction):
    map = spline(cls).double()
    raw = raws(map, 1)[0]

    def f(x):
        z, log_derivative = getattr(map, direction)(x, raw)
        return (z.square() + log_derivative).sum()

    x = torch.tensor([0.7], dtype=torch.float64)
    hessian = torch.func.hessian(f)(x)
    assert_close(torch.autograd.functional.hessian(f, x), hessian, atol=1e-9, rtol=1e-9)
    step = torch.tensor([1e-4], dtype=torch.float64)
    by_steps = (f(x + step) - 2.0 * f(x) + f(x - step)) / 1e-8
    assert_close(hessian[0, 0], by_steps, atol=1e-5, rtol=1e-4)


@every_spline
@directions
def test_it_is_one_graph(cls, direction):
    map = spline(cls)
    x, raw = torch.linspace(-5, 5, 30)[:, None], raws(map, 30, dtype=torch.float32)
    compiled = torch.compile(getattr(map, direction), backend="eager", fullgraph=True)
    assert_close(compiled(x, raw), getattr(map, direction)(x, raw), atol=0, rtol=0)


@every_spline
def test_linear_tails_have_a_slope_that_far_data_can_teach(cls):
    map = spline(cls, "linear").double()
    for far in (20.0, -20.0, 1e6):
        raw = raws(map, 1).requires_grad_()
        z, log_derivative = map(column([far]), raw)
        in_z, in_log = (
            torch.autograd.grad(out.sum(), raw, retain_graph=True)[0] for out in (z, log_derivative)
        )
        assert float(in_z.abs().max()) > 1e-3
        assert float(in_log.abs().max()) > 1e-3


@every_spline
def test_linear_tails_are_lines(cls):
    map = spline(cls, "linear").double()
    for side in (1.0, -1.0):
        raw = raws(map, 1).expand(3, 1, -1)
        z, log_derivative = map(column([side * 4.0, side * 5.0, side * 6.0]), raw)
        steps = z.diff(dim=0).abs()
        assert_close(steps[0], steps[1], atol=1e-12, rtol=0)
        assert_close(log_derivative.exp(), steps[0].expand(3, 1), atol=1e-12, rtol=0)


@every_spline
def test_identity_tails_are_the_identity(cls):
    map = spline(cls, "identity").double()
    x = column([-1e6, -4.0, 4.0, 1e6])
    z, log_derivative = map(x, raws(map, 4))
    assert_close(z, x, atol=1e-9, rtol=0)
    assert_close(log_derivative, torch.zeros_like(z), atol=0, rtol=0)


@every_spline
def test_a_circular_spline_is_a_map_of_the_circle(cls):
    map = spline(cls, "circular").double()
    raw = raws(map, 1)
    x = column(torch.linspace(-BOX, BOX, 101)[:-1])
    one_turn = map(x, raw.expand(100, 1, -1))
    for turns in (-3, 1, 2):
        again = map(x + turns * 2 * BOX, raw.expand(100, 1, -1))
        assert_close(again, one_turn, atol=1e-9, rtol=0)
    first, last = map(column([-BOX, BOX - 1e-12]), raw.expand(2, 1, -1))[1]
    seam = float((first - last).abs())  # the jump of the log-density there
    assert seam > 0.1 if cls is Linear else seam < 1e-9


@every_spline
@pytest.mark.parametrize("tails", ["circular", "none"])
def test_a_uniform_density_pulled_back_integrates_to_one(cls, tails):
    """Over one period, or over the box: the mass of h'(x) / (2 BOX)."""
    map = spline(cls, tails).double()
    raw = raws(map, 1)
    edges = torch.linspace(-BOX, BOX, 200_001, dtype=torch.float64)
    x = ((edges[1:] + edges[:-1]) / 2)[:, None]
    slope = map(x, raw.expand(len(x), 1, -1))[1].exp()
    assert float(slope.mean()) == pytest.approx(1.0, abs=1e-6)


@every_spline
def test_without_tails_there_is_nothing_outside(cls):
    map = spline(cls, "none").double()
    x = column([-1e6, -BOX - 1e-6, BOX + 1e-6, 1e6]).requires_grad_()
    for apply in (map.forward, map.inverse):
        z, log_derivative = apply(x, raws(map, 4))
        assert torch.equal(log_derivative, torch.full((4, 1), -torch.inf).double())
        assert bool(z.isfinite().all())


@every_spline
@every_tail
def test_bins_keep_their_least_size_however_far_they_are_driven(cls, tails):
    map = spline(cls, tails, bins=4).double()
    generator = torch.Generator().manual_seed(3)
    for _ in range(10):
        raw = 1e4 * torch.randint(-1, 2, (1, 1, map.raw_width), generator=generator).double()
        x = column(torch.linspace(-BOX, BOX, 1001))
        z, log_derivative = map(x, raw.expand(1001, 1, -1))
        assert bool(z.isfinite().all())
        assert bool(log_derivative.isfinite().all())
        last = -1 if tails == "circular" else None  # there the last x is the first again
        assert bool((z[:last].diff(dim=0) > 0).all())


@every_spline
def test_tails_cannot_explode(cls):
    """However far a network extrapolates, one spline stretches the far tail by 2.6 at most."""
    map = spline(cls)
    raw = torch.full((2, 1, map.raw_width), 50.0)
    x = torch.tensor([[-1e4], [1e4]])
    assert float(map(x, raw)[0].abs().max()) < 2.7e4
    assert float(map(x, -raw)[0].abs().min()) > 0.2e4


@every_spline
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
def test_arguments_that_cannot_be_are_refused(cls, options, says):
    with pytest.raises(ArgumentError, match=says):
        cls(**options)
