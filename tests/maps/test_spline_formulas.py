"""The splines against their definitions, written out anew from raw, with NumPy and SciPy."""

import math

import numpy
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline
from tests.maps.cases import BOX, raws
from torch.testing import assert_close

from pushforward.errors import ArgumentError
from pushforward.maps import Cubic, Linear, LinearRational, Quadratic
from pushforward.maps.splines.spline import Bin

TAILS = ["linear", "identity", "circular", "none"]
every_tail = pytest.mark.parametrize("tails", TAILS)
K, LEAST = 5, 1e-3


def made(cls, tails):
    map = cls(bins=K, box=BOX, tails=tails).double()
    return map, raws(map, 1, spread=1.0)[0, 0]


def softmax(v):
    e = numpy.exp(v - v.max())
    return e / e.sum()


def sizes(raw):
    return LEAST + (1.0 - len(raw) * LEAST) * softmax(raw)


def knots(sizes):
    """In units of the data."""
    return BOX * (2.0 * numpy.concatenate(([0.0], numpy.cumsum(sizes))) - 1.0)


def positive(raw):
    return numpy.logaddexp(0.0, raw + math.log(math.expm1(1.0 - LEAST))) + LEAST


def ends(raw):
    return positive(2.0 * numpy.tanh(raw / 2.0))


def agrees(map, raw, wanted, slope=None):
    x = torch.linspace(-BOX, BOX, 400, dtype=torch.float64)[1:-1]
    z, log_derivative = map(x[:, None], raw.expand(len(x), 1, -1))
    assert_close(z[:, 0], torch.as_tensor(wanted(x.numpy())), atol=1e-11, rtol=0)
    if slope is not None:
        assert_close(
            log_derivative[:, 0].exp(), torch.as_tensor(slope(x.numpy())), atol=1e-9, rtol=1e-9
        )


@every_tail
def test_a_linear_spline_interpolates_its_knots(tails):
    map, raw = made(Linear, tails)
    x, y = numpy.linspace(-BOX, BOX, K + 1), knots(sizes(raw.numpy()[:K]))
    agrees(map, raw, lambda at: numpy.interp(at, x, y))


def test_the_linear_tails_of_a_linear_spline_have_slopes_of_their_own():
    map, raw = made(Linear, "linear")
    _, log_derivative = map(torch.tensor([[-9.0], [9.0]]).double(), raw.expand(2, 1, -1))
    assert_close(log_derivative[:, 0].exp(), torch.as_tensor(ends(raw.numpy()[K:])))


@every_tail
def test_the_slope_of_a_quadratic_spline_interpolates_that_at_its_knots(tails):
    map, raw = made(Quadratic, tails)
    raw_slopes = raw.numpy()[K:]
    widths = sizes(raw.numpy()[:K])
    # each free slope in proportion to exp(raw), the ends first, all to fill the box
    free = numpy.exp(raw_slopes)
    if tails == "circular":
        shape, held = numpy.append(free, free[0]), numpy.zeros(K + 1, bool)
    elif tails == "none":
        shape, held = free, numpy.zeros(K + 1, bool)
    else:
        outer = 1.0 + 0.8 * numpy.tanh(raw_slopes[[0, -1]] / 0.8) if tails == "linear" else [1, 1]
        inner = free[1:-1] if tails == "linear" else free
        shape = numpy.concatenate(([outer[0]], inner, [outer[1]]))
        held = numpy.isin(numpy.arange(K + 1), (0, K))
    area = lambda d: float(numpy.sum(widths * (d[1:] + d[:-1]) / 2.0))
    rest = (1.0 - area(shape * held)) / area(shape * ~held)
    slopes = LEAST + (1.0 - LEAST) * numpy.where(held, shape, shape * rest)
    x = knots(widths)

    def mass(at):
        grid = numpy.union1d(x, at)
        rise = numpy.diff(grid) * numpy.convolve(numpy.interp(grid, x, slopes), [0.5, 0.5], "valid")
        return numpy.interp(at, grid, numpy.concatenate(([0.0], numpy.cumsum(rise)))) - BOX

    assert mass(numpy.array([BOX]))[0] == pytest.approx(BOX, abs=1e-12)
    agrees(map, raw, mass, lambda at: numpy.interp(at, x, slopes))


@every_tail
def test_a_cubic_spline_is_hermites_with_steffens_slopes(tails):
    map, raw = made(Cubic, tails)
    free = raw.numpy()[2 * K :]
    widths, logits = sizes(raw.numpy()[:K]), raw.numpy()[K : 2 * K]
    heights = sizes(logits)
    if tails in ("linear", "identity"):
        outer = ends(free) if tails == "linear" else numpy.ones(2)
        least = numpy.full(K, LEAST)
        least[[0, -1]] = numpy.maximum(LEAST, outer * widths[[0, -1]] / 3.0)
        start = numpy.full(K, 1.0 / K - LEAST)
        start[[0, -1]] = 1.0 / K - 1.0 / (3.0 * K)
        heights = least + (1.0 - least.sum()) * softmax(logits + numpy.log(start))
    s = heights / widths
    slopes = numpy.empty(K + 1)
    for k in range(K + 1):
        if 0 < k < K or tails == "circular":
            before, after = (k - 1) % K, k % K
            h0, h1 = widths[before], widths[after]
            parabola = (s[before] * h1 + s[after] * h0) / (h0 + h1)
            slopes[k] = 2.0 * min(s[before], s[after], 0.5 * parabola)
    if tails == "none":
        outer = s[[0, -1]] * (0.01 + 2.98 / (1.0 + numpy.exp(-free - math.log(0.99 / 1.99))))
    if tails != "circular":
        slopes[[0, -1]] = outer
    curve = CubicHermiteSpline(knots(widths), knots(heights), slopes)
    agrees(map, raw, curve, curve.derivative())


@every_tail
def test_a_linear_rational_spline_is_that_of_the_paper(tails):
    """Algorithm 1 of arXiv:2001.05168, with its weights, bin by bin."""
    map, raw = made(LinearRational, tails)
    raw = raw.clone()
    values = raw.numpy()
    x, y = knots(sizes(values[:K])), knots(sizes(values[K : 2 * K]))
    free = values[2 * K : -K]
    if tails == "linear":
        slopes = numpy.concatenate((ends(free[:1]), positive(free[1:-1]), ends(free[-1:])))
    elif tails == "identity":
        slopes = numpy.concatenate(([1.0], positive(free), [1.0]))
    else:
        slopes = positive(numpy.append(free, free[0]) if tails == "circular" else free)
    leans = 0.025 + 0.95 / (1.0 + numpy.exp(-values[-K:]))

    def curve(at):
        out = []
        for value in at:
            k = min(int(numpy.searchsorted(x, value, side="right")) - 1, K - 1)
            lean, delta, next_delta = leans[k], slopes[k], slopes[k + 1]
            w0, w1 = 1.0, math.sqrt(delta / next_delta)
            wm = (lean * w0 * delta + (1 - lean) * w1 * next_delta) * (x[k + 1] - x[k])
            wm /= y[k + 1] - y[k]
            ym = ((1 - lean) * w0 * y[k] + lean * w1 * y[k + 1]) / ((1 - lean) * w0 + lean * w1)
            phi = (value - x[k]) / (x[k + 1] - x[k])
            if phi <= lean:
                above = w0 * y[k] * (lean - phi) + wm * ym * phi
                out.append(above / (w0 * (lean - phi) + wm * phi))
            else:
                above = wm * ym * (1 - phi) + w1 * y[k + 1] * (phi - lean)
                out.append(above / (wm * (1 - phi) + w1 * (phi - lean)))
        return numpy.array(out)

    agrees(map, raw, curve)
    z, log_derivative = map(torch.as_tensor(x)[1:-1, None], raw.expand(K - 1, 1, -1))
    assert_close(z[:, 0], torch.as_tensor(y)[1:-1], atol=1e-12, rtol=0)
    assert_close(log_derivative[:, 0].exp(), torch.as_tensor(slopes)[1:-1], atol=0, rtol=1e-8)


@pytest.mark.parametrize("tails", ["linear", "identity"])
def test_a_cubic_that_has_no_room_beside_its_tails_is_refused(tails):
    with pytest.raises(ArgumentError, match=f"leaves 3 bins no room beside {tails} tails"):
        Cubic(bins=3, tails=tails, min_height=0.3)
    assert Cubic(bins=3, box=1.0, tails="none", min_height=0.3).raw_width == 8


@pytest.mark.parametrize("cls", [Linear, Quadratic, Cubic, LinearRational])
def test_a_circle_needs_its_period(cls):
    with pytest.raises(ArgumentError, match=rf"{cls.__name__}: tails='circular' needs box, half"):
        cls(tails="circular")


@pytest.mark.parametrize("cls", [Linear, Quadratic, Cubic, LinearRational])
def test_a_support_that_ends_does_not_end_where_the_data_happens_to(cls):
    with pytest.raises(ArgumentError, match=rf"{cls.__name__}: tails='none' needs box, beyond"):
        cls(tails="none")


def test_the_root_of_a_cubic_is_found_wherever_its_roots_lie():
    """One root or three, double or triple, a cubic that is none: all over the monotone ones."""
    values = torch.cat((torch.linspace(1e-6, 2.99, 40), torch.tensor([1.0, 1.5, 2.0, 1e-9])))
    first, last = torch.cartesian_prod(values, values).double().unbind(-1)
    shares = torch.cat((torch.linspace(0, 1, 101), torch.tensor([1e-12, 1e-6, 1 - 1e-6])))
    first, last = first[:, None], last[:, None]
    share = shares.double().expand(len(first), -1)
    b = _bin(first, last)
    xi, _ = Cubic._run(b, share)
    again, _ = Cubic._rise(b, xi)
    assert_close(again, share, atol=1e-15, rtol=0)  # a few roundings of 1


def _bin(first, last):
    from pushforward.maps.splines.spline import Bin

    zero, one = torch.zeros_like(first), torch.ones_like(first)
    return Bin(zero, zero, one, one, first, last)


def test_a_steep_midpoint_of_a_linear_rational_bin_costs_no_digits():
    """In float32 y is met as by the neighbours of the exact position, whose slope may be 1e6."""
    generator = torch.Generator().manual_seed(0)

    def draw(least, most):
        return least * (most / least) ** torch.rand(300_000, generator=generator)

    zero, lean = torch.zeros(300_000), 0.025 + 0.95 * torch.rand(300_000, generator=generator)
    b = Bin(zero, zero, draw(1e-3, 1.0), draw(1e-3, 1.0), draw(1e-3, 1e3), draw(1e-3, 1e3), lean)
    exact = Bin(*(part.double() for part in b))
    rise = b.height * torch.rand(300_000, generator=generator)

    def missed(xi):
        return (LinearRational._rise(exact, xi.double())[0] - rise.double()).abs()

    at = LinearRational._run(exact, rise.double())[0].float()
    ends = (torch.zeros_like(at), torch.ones_like(at))
    allowed = torch.stack([missed(xi) for xi in (at, *(at.nextafter(end) for end in ends))])
    assert float((missed(LinearRational._run(b, rise)[0]) - allowed.amax(0)).max()) < 2e-5
    assert float(allowed.max()) > 1e-3  # such midpoints are among them
