"""Sinh-arcsinh and Yeo-Johnson: against their definitions, and how their tails grow."""

import math

import pytest
import torch
from tests.maps.cases import raws
from torch.testing import assert_close

from pushforward.errors import ArgumentError
from pushforward.maps import SinhArcsinh, YeoJohnson

BOTH = [SinhArcsinh, YeoJohnson]
both_maps = pytest.mark.parametrize("cls", BOTH, ids=lambda cls: cls.__name__)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
directions = pytest.mark.parametrize("direction", ["forward", "inverse"])


def column(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)[:, None]


def bounded(raw, bound):
    return bound * torch.tanh(raw / bound)


def test_sinh_arcsinh_is_the_formula_written_out():
    """S(x) = sinh(delta asinh(t) - epsilon) of Jones and Pewsey, epsilon = -delta skew."""
    map = SinhArcsinh().double()
    raw = raws(map, 200, spread=1.5)
    x = torch.linspace(-6, 6, 200, dtype=torch.float64)[:, None]
    t = x * bounded(raw[..., 0], 3.0).exp() + raw[..., 1]
    delta = bounded(raw[..., 3], math.log(2.0)).exp()
    epsilon = -delta * bounded(raw[..., 2], 2.0)
    assert_close(map(x, raw)[0], torch.sinh(delta * torch.asinh(t) - epsilon), rtol=1e-12, atol=0)


def test_yeo_johnson_is_the_one_of_scipy():
    import scipy.stats

    map = YeoJohnson().double()
    x = torch.linspace(-6, 6, 201, dtype=torch.float64)[:, None]
    for raw_power in (-50.0, -1.0, -1e-3, 0.0, 0.2, 50.0):
        raw = torch.tensor([0.0, 0.0, raw_power], dtype=torch.float64).expand(201, 1, 3)
        power = 1.0 + 0.75 * math.tanh(raw_power / 0.75)
        want = scipy.stats.yeojohnson(x[:, 0].numpy(), power)
        assert_close(map(x, raw)[0][:, 0], torch.as_tensor(want), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(("cls", "last"), [(SinhArcsinh, 3), (YeoJohnson, 2)])
@pytest.mark.parametrize("raw_power", [-50.0, -0.5, 0.5, 50.0])
def test_far_out_it_grows_as_a_power(cls, last, raw_power):
    """log z against log x is a line whose slope is the power; both tails reach infinity."""
    map = cls().double()
    raw = torch.zeros(2, 1, map.raw_width, dtype=torch.float64)
    raw[..., last] = raw_power
    for side in (1.0, -1.0):
        z = map(column(side * 1e10, side * 1e12), raw)[0][:, 0]
        power = float((z[1] / z[0]).log() / math.log(100.0))
        if cls is SinhArcsinh:
            want = math.exp(math.log(2.0) * math.tanh(raw_power / math.log(2.0)))
        else:
            want = 1.0 + side * 0.75 * math.tanh(raw_power / 0.75)
        assert power == pytest.approx(want, abs=2e-3)
        assert float(z[1]) * side > 500.0


@both_maps
@dtypes
@directions
def test_a_million_away_with_any_raw_everything_is_finite(cls, dtype, direction):
    map = cls().to(dtype)
    signs = torch.cartesian_prod(*[torch.tensor([-50.0, 0.0, 50.0])] * map.raw_width)
    raw = signs.to(dtype)[:, None].requires_grad_()
    for at in (1e6, -1e6, 1e-40, 0.0):
        x = torch.full((len(raw), 1), at, dtype=dtype, requires_grad=True)
        z, log_derivative = getattr(map, direction)(x, raw)
        for output in (z, log_derivative):
            assert bool(output.isfinite().all())
            for gradient in torch.autograd.grad(output.sum(), (x, raw), retain_graph=True):
                assert bool(gradient.isfinite().all())


@both_maps
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own forward mode
@directions
@pytest.mark.parametrize("at", [0.0, 1e-9, -1e-9, 2.0])
def test_a_hessian_is_right_at_zero_too(cls, direction, at):
    """Where a sign or a size would have no derivative, or one of the wrong side."""
    map = cls().double()
    # the third derivative of Yeo-Johnson jumps at 0, and with it the second of its logarithm
    smooth = cls is SinhArcsinh or abs(at) > 1.0

    def f(v):
        z, log_derivative = getattr(map, direction)(v[:1], v[1:])
        return (z + 0.3 * z.square() + log_derivative * smooth).sum()

    for raw in ([0.0] * map.raw_width, [0.4, 0.0, 0.5, -0.3][: map.raw_width]):
        v = torch.tensor([at, *raw], dtype=torch.float64)
        hessian = torch.func.hessian(f)(v)
        assert_close(torch.autograd.functional.hessian(f, v), hessian, atol=1e-12, rtol=1e-12)
        steps = 1e-4 * torch.eye(len(v), dtype=torch.float64)
        gradient = torch.func.grad(f)
        by_steps = torch.stack([(gradient(v + h) - gradient(v - h)) / 2e-4 for h in steps])
        # of Yeo-Johnson the third derivative jumps at 0: steps across it are off by their length
        assert_close(hessian, by_steps, atol=2e-4, rtol=1e-4)


@both_maps
@directions
def test_it_is_one_graph(cls, direction):
    map = cls()
    x, raw = torch.linspace(-5, 5, 30)[:, None], raws(map, 30, dtype=torch.float32)
    compiled = torch.compile(getattr(map, direction), backend="eager", fullgraph=True)
    assert_close(compiled(x, raw), getattr(map, direction)(x, raw), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SinhArcsinh(power=1.0), "SinhArcsinh: power is 1.0, expected a number above 1"),
        (lambda: SinhArcsinh(power=torch.inf), "SinhArcsinh: power is inf, expected a number abo"),
        (lambda: SinhArcsinh(bound=0.0), "SinhArcsinh: bound is 0.0, expected a positive number"),
        (lambda: YeoJohnson(reach=1.0), "YeoJohnson: reach is 1.0, expected .* between 0 and 1"),
        (lambda: YeoJohnson(bound=-1.0), "YeoJohnson: bound is -1.0, expected a positive number"),
    ],
    ids=["power", "infinite", "scale", "reach", "bound"],
)
def test_arguments_that_cannot_be_are_refused(make, says):
    with pytest.raises(ArgumentError, match=says):
        make()
