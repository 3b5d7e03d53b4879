"""What is particular to sums of sigmoids: their formulas, their start, and tails that are lines."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, logit, softmax
from tests.maps.cases import raws
from torch.testing import assert_close

from pushforward import maps
from pushforward.errors import ArgumentError
from pushforward.maps.sigmoidal.mixture import logit_of_mixture

X = torch.linspace(-5, 5, 41, dtype=torch.float64)[:, None]
ALL = {
    "logistic-mixture": maps.LogisticMixture,
    "deep": maps.DeepSigmoidal,
    "deep-2": lambda **options: maps.DeepSigmoidal(layers=2, **options),
    "dense": maps.DenseSigmoidal,
}
every_map = pytest.mark.parametrize("name", ALL)


def made(name, **options):
    map = ALL[name](**options).double()
    return map, raws(map, 1).expand(len(X), 1, -1), raws(map, 1)[0, 0].numpy()


def bounded(raw):
    return np.exp(3.0 * np.tanh(raw / 3.0))


def written_out(map, z):
    """A share of x mixed in, as the docstrings say."""
    x = X[:, 0].numpy()
    return torch.from_numpy((1.0 - map.min_slope) * z + map.min_slope * x)[:, None]


def test_a_logistic_mixture_is_its_formula():
    map, raw, r = made("logistic-mixture", components=5)
    logits, means, log_scales = r[:15].reshape(3, 5)
    places, slopes = map.places.numpy(), map.slopes.numpy()
    u = (X.numpy() - means - places) * slopes / bounded(log_scales)
    want = written_out(map, logit((softmax(logits) * expit(u)).sum(-1)))
    assert_close(map(X, raw)[0], bounded(r[15]) * want + r[16], atol=1e-11, rtol=0)


def test_a_deep_sigmoidal_flow_is_its_formula():
    map, raw, r = made("deep-2", units=4)
    logits, log_slopes, offsets = r.reshape(3, 2, 4)
    z = X.numpy()
    for layer in range(2):
        a = map.slopes.numpy() * bounded(log_slopes[layer])
        b = offsets[layer] - map.slopes.numpy() * map.places.numpy()
        z = logit((softmax(logits[layer]) * expit(a * z + b)).sum(-1, keepdims=True))
    assert_close(map(X, raw)[0], written_out(map, z[:, 0]), atol=1e-10, rtol=0)


def test_a_dense_sigmoidal_flow_is_its_formula():
    map, raw, r = made("dense", units=3, layers=3)
    own, at, h = np.eye(3), 0, X.numpy()
    for layer in range(3):
        outputs = 1 if layer == 2 else 3
        count = 6 + 9 * (layer > 0) + 3 * outputs
        part, at = r[at : at + count], at + count
        a = map.slopes.numpy() * bounded(part[:3])
        b = part[3:6] - map.slopes.numpy() * map.places.numpy()
        if layer > 0:
            h = h @ softmax(part[6:15].reshape(3, 3) + own, -1).T
        w = softmax(part[-3 * outputs :].reshape(outputs, 3) + own * (outputs > 1), -1)
        h = logit(expit(a * h + b) @ w.T)
    assert at == map.raw_width
    assert_close(map(X, raw)[0], written_out(map, h[:, 0]), atol=1e-10, rtol=0)


@every_map
@pytest.mark.parametrize("spread", [0.7, 5.0])
def test_far_out_nothing_is_lost_in_float32(name, spread):
    """A formula with 1 - S would be infinite at 20, one with a difference of logs wrong by 10 %."""
    map = ALL[name]()
    x = torch.cat([s * torch.logspace(0, 6, 500) for s in (-1, 1)])[:, None]
    raw = raws(map, 1000, spread, torch.float32)
    z, log_derivative = map(x, raw)
    leaf = x.clone().requires_grad_()
    slope = torch.autograd.grad(map(leaf, raw)[0].sum(), leaf)[0]
    want, log_want = map.double()(x.double(), raw.double())
    # a number of size 5 * spread is rounded before it is exponentiated, once a layer
    assert_close(z.double(), want, atol=3e-5, rtol=1e-5)
    assert_close(log_derivative.double(), log_want, atol=2e-4, rtol=0)
    assert_close(slope.log(), log_derivative, atol=2e-4, rtol=0)


def test_tails_have_the_least_slope_of_all():
    """What decays slowest is what remains."""
    map, raw, r = made("deep", units=4)
    least = torch.tensor((map.slopes.numpy() * bounded(r[4:8])).min())
    want = (1.0 - map.min_slope) * least + map.min_slope
    for far in (-1e6, 1e6):
        assert_close(map(torch.full_like(X, far), raw)[1].exp(), want.expand(len(X), 1))


@every_map
def test_tails_can_neither_explode_nor_vanish(name):
    map = ALL[name]()
    for size in (50.0, -50.0):
        raw = torch.full((2, 1, map.raw_width), size)
        ratio = map(torch.tensor([[-1e6], [1e6]]), raw)[0].abs() / 1e6
        layers = 1 if name == "deep" else 2
        assert 0.05**layers < float(ratio.min())
        assert float(ratio.max()) < 34.0**layers


@every_map
def test_far_out_the_start_is_a_line_of_slope_one(name):
    map = ALL[name]().double()
    x = torch.tensor([[-1e6], [1e6]], dtype=torch.float64)
    z, log_derivative = map(x, torch.zeros(2, 1, map.raw_width, dtype=torch.float64))
    shift = 0.11 if name == "dense" else 0.0  # its outputs prefer some sigmoids
    assert_close(z, x, atol=shift + 1e-6, rtol=0)
    assert_close(log_derivative, torch.zeros_like(z), atol=1e-9, rtol=0)


@every_map
def test_nothing_begins_equal(name):
    """Two terms with the same gradient would stay the same for ever."""
    map = ALL[name]().double()
    x = torch.linspace(-2.0, 3.0, 200, dtype=torch.float64)[:, None]
    raw = torch.zeros(1, 1, map.raw_width, dtype=torch.float64, requires_grad=True)
    z, log_derivative = map(x, raw.expand(200, 1, -1))
    gradient = torch.autograd.grad((0.5 * z**2 - log_derivative).mean(), raw)[0].flatten()
    assert bool((gradient.sort().values.diff() > 1e-9).all())


def test_a_plateau_keeps_its_least_slope_and_is_inverted():
    """Two steep steps far apart: in between S does not move at all."""
    map = maps.DeepSigmoidal(units=2).double()
    raw = torch.tensor([0.0, 0.4, 50.0, 50.0, 300.0, -300.0], dtype=torch.float64).expand(99, 1, 6)
    x = torch.linspace(-12, 12, 99, dtype=torch.float64)[:, None]
    z, log_derivative = map(x, raw)
    assert float(log_derivative.min()) == pytest.approx(math.log(1e-3), abs=1e-6)
    assert_close(map.inverse(z, raw)[0], x, atol=1e-10, rtol=0)


def test_the_derivative_of_the_logit_is_right_on_both_sides_and_in_the_middle():
    u = torch.linspace(-40, 40, 81, dtype=torch.float64)[:, None] + torch.tensor([0.0, 0.5, -3.0])
    u.requires_grad_()
    log_weight = torch.log_softmax(torch.tensor([0.3, -1.0, 0.7], dtype=torch.float64), -1)
    z, slope = logit_of_mixture(log_weight, u, torch.ones(3))
    found = torch.autograd.grad(z.sum(), u, create_graph=True)[0].sum(-1)
    assert_close(slope, found, atol=0, rtol=1e-12)
    assert float(slope.detach().max()) <= 1.0 + 1e-12


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: maps.LogisticMixture(components=0), "components is 0, expected at least 1"),
        (lambda: maps.DeepSigmoidal(units=0), "units is 0, expected at least 1"),
        (lambda: maps.DeepSigmoidal(layers=0), "layers is 0, expected at least 1"),
        (lambda: maps.DenseSigmoidal(units=0), "units is 0, expected at least 1"),
        (lambda: maps.DenseSigmoidal(layers=1), "layers is 1, expected at least 2"),
        (lambda: maps.LogisticMixture(min_slope=0.0), "min_slope is 0.0, expected a number above"),
        (lambda: maps.DeepSigmoidal(min_slope=1.0), "min_slope is 1.0, expected a number above"),
        (lambda: maps.DenseSigmoidal(min_slope=-1.0), "min_slope is -1.0, expected a number above"),
    ],
)
def test_arguments_that_cannot_be_are_refused(build, says):
    with pytest.raises(ArgumentError, match=says):
        build()
