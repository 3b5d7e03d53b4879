"""Each toy density is normalized, is the density of its samples, and is exact where it is hard."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from pushforward.data.toys import TOYS, toy
from pushforward.errors import ArgumentError, ShapeError

NAMES = list(TOYS)
# Half the side of the square the mass is in, and the grid's step: at most half of the smallest
# standard deviation, where the midpoint rule for a smooth density is exact to many digits.
GRIDS = {
    "eight_gaussians": (8.0, 0.1),
    "two_moons": (3.0, 0.03),
    "banana": (26.0, 0.13),
    "pinwheel": (5.5, 0.0275),
    "rings": (2.6, 0.02),
    "checkerboard": (2.5, 0.05),
}
CELLS = 40


@functools.cache
def grid(name):
    """Middles of small squares, ``(m, m, 2)``, and the mass of each, ``(m, m)``."""
    half, step = GRIDS[name]
    steps = round(2 * half / step)
    centres = (torch.arange(steps, dtype=torch.float64) + 0.5) * step - half
    points = torch.stack(torch.meshgrid(centres, centres, indexing="ij"), -1)
    return points, toy(name).log_prob(points).exp() * step**2


@pytest.mark.parametrize("name", NAMES)
def test_the_density_integrates_to_one(name):
    assert abs(float(grid(name)[1].sum()) - 1) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_the_density(name):
    half, step = GRIDS[name]
    mass = grid(name)[1].numpy()
    steps = len(mass)
    blocks = np.add.reduceat(
        np.add.reduceat(mass, np.arange(0, steps, steps // CELLS), 0),
        np.arange(0, steps, steps // CELLS),
        1,
    )
    edges = np.append(np.arange(0, steps, steps // CELLS), steps) * step - half
    x = toy(name).sample(100_000, seed=1, dtype=torch.float64).numpy()
    counts = np.histogram2d(x[:, 0], x[:, 1], bins=(edges, edges))[0]
    expected = blocks * len(x)
    often = expected >= 10
    observed = np.append(counts[often], len(x) - counts[often].sum())
    wanted = np.append(expected[often], len(x) - expected[often].sum())
    # A rest that is rounding error only is no class of its own.
    keep = wanted > 1
    assert observed[~keep].sum() <= 5
    statistic = ((observed - wanted)[keep] ** 2 / wanted[keep]).sum()
    p_value = stats.chi2.sf(statistic, keep.sum() - 1)
    assert 1e-3 < p_value < 1 - 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_the_density_and_finite(name):
    density = toy(name)
    x = density.sample(300, seed=2, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    assert gradient.isfinite().all()
    h = 1e-6
    for axis in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[axis] = h
        with torch.no_grad():
            slope = (density.log_prob(x + step) - density.log_prob(x - step)) / (2 * h)
        fine = slope.isfinite()  # a step may leave a cell of the checkerboard
        assert torch.allclose(gradient[fine, axis], slope[fine], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "checkerboard"])
@pytest.mark.parametrize("place", [0.0, 1e-8, 1.0, 30.0, 1e3])
def test_value_and_gradient_are_finite_near_and_far(name, place):
    x = place * torch.tensor([[1.0, 0.0], [0.0, -1.0], [-0.6, 0.8]], dtype=torch.float64)
    x.requires_grad_()
    logp = toy(name).log_prob(x)
    (gradient,) = torch.autograd.grad(logp.sum(), x)
    assert logp.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_sampling_is_seeded_and_leaves_the_global_state_alone(name):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two = toy(name).sample(10, seed=3), toy(name).sample(10, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, two)
    assert one.dtype == torch.float32
    assert not torch.equal(one, toy(name).sample(10, seed=4))
    assert torch.equal(toy(name).sample(10, seed=3, dtype=torch.float64).float(), one)


@pytest.mark.parametrize("name", NAMES)
def test_every_float32_sample_has_positive_density(name):
    assert toy(name).log_prob(toy(name).sample(200_000)).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_precision(name):
    density = toy(name)
    x = density.sample(6)
    logp = density.log_prob(x)
    assert logp.dtype == torch.float64
    assert torch.allclose(density.log_prob(x.reshape(2, 3, 2)), logp.reshape(2, 3), rtol=1e-12)
    assert density.log_prob(x[0]).shape == ()
    assert density.log_prob(x[:0]).shape == (0,)
    assert density.features == 2
    with pytest.raises(ShapeError, match=r"expected \(\*batch, 2\)"):
        density.log_prob(torch.zeros(4, 3))


def moons_by_quad(x, y):
    """The log density by adaptive quadrature of the integrand over its largest value."""
    logs = []
    for u, v in ((x, y), (1 - x, 0.5 - y)):

        def exponent(t, u=u, v=v, top=0.0):
            return -((u - np.cos(t)) ** 2 + (v - np.sin(t)) ** 2) / (2 * 0.01) - top

        best = min(max(math.atan2(v, u) % (2 * math.pi), 0.0), math.pi)
        best = max((0.0, best, math.pi), key=exponent)
        top = exponent(best)
        width = 14 / math.sqrt(max(math.hypot(u, v) / 0.01, 1.0))
        ends = [0.0, *(e for e in (best - width, best, best + width) if 0 < e < math.pi), math.pi]
        scaled = functools.partial(exponent, top=top)
        total = sum(
            integrate.quad(lambda t, f=scaled: np.exp(f(t)), a, b, epsabs=0, epsrel=1e-12)[0]
            for a, b in itertools.pairwise(ends)
        )
        logs.append(math.log(total) + top - math.log(math.pi) - math.log(2 * math.pi * 0.01))
    return np.logaddexp(*logs) - math.log(2)


@pytest.mark.parametrize(
    "point",
    [
        (0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.5, 0.25), (0.0, -0.7), (1e-9, 0.0),
        (1.05, -0.001), (1.05, 0.001), (-3.0, -2.0), (0.0, -5.0), (0.3, 4.0), (20.0, 7.0),
    ],
)  # fmt: skip
def test_two_moons_against_adaptive_quadrature(point):
    logp = float(toy("two_moons").log_prob(torch.tensor(point, dtype=torch.float64)))
    assert abs(logp - moons_by_quad(*point)) < 1e-8


FOLDED = [(5.0, 3.0), (-8.24, 2.72), (-5.21, 8.91)]


def pinwheel_by_scanning(x, arms=5):
    """The pinwheel's density another way: find every preimage on a fine scan of r."""
    p = np.asarray(x) / 2
    rho = np.hypot(*p)
    total = 0.0
    for k in range(arms):

        def miss(r, side, k=k):
            # Where the source (r, t) goes, less p, as an angle in (-π, π]
            t = side * np.sqrt(np.maximum(rho**2 - r**2, 0))
            angle = np.arctan2(t, r) + 2 * np.pi * k / arms + 0.25 * np.exp(r)
            return (angle - np.arctan2(p[1], p[0]) + np.pi) % (2 * np.pi) - np.pi

        for side in (-1, 1):
            scan = -rho * np.cos(np.linspace(0, np.pi, 200_001))
            value = miss(scan, side)
            crossing = (value[:-1] * value[1:] <= 0) & (np.abs(value[:-1] - value[1:]) < 1)
            for a, b in zip(scan[:-1][crossing], scan[1:][crossing], strict=True):
                for _ in range(80):
                    middle = (a + b) / 2
                    if miss(a, side) * miss(middle, side) <= 0:
                        b = middle
                    else:
                        a = middle
                r = (a + b) / 2
                t = side * math.sqrt(max(rho**2 - r**2, 0))
                weight = stats.norm.pdf(r, 1, 0.3) * stats.norm.pdf(t, 0, 0.05)
                total += weight / abs(1 - 0.25 * math.exp(r) * t)
    return math.log(total / arms / 4)


@pytest.mark.parametrize(
    "point",
    # At the last two the map folds over itself, and half of the density comes from the fold.
    [(2.0, 0.3), (-1.1, 1.3), (0.05, -0.02), (0.4, 0.9), (-3.9, -2.1), *FOLDED],
)
def test_pinwheel_counts_every_preimage(point):
    logp = float(toy("pinwheel").log_prob(torch.tensor(point, dtype=torch.float64)))
    assert abs(logp - pinwheel_by_scanning(point)) < 1e-5


def test_the_gradient_where_the_pinwheel_folds():
    x = torch.tensor(FOLDED, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(toy("pinwheel").log_prob(x).sum(), x)
    for axis in range(2):
        step = torch.eye(2, dtype=torch.float64)[axis] * 1e-6
        with torch.no_grad():
            slope = toy("pinwheel").log_prob(x + step) - toy("pinwheel").log_prob(x - step)
        assert torch.allclose(gradient[:, axis], slope / 2e-6, rtol=1e-5, atol=1e-4)


def test_pinwheel_has_five_equal_arms():
    x = toy("pinwheel").sample(100, dtype=torch.float64)
    turn = 2 * math.pi / 5
    rotation = torch.tensor(
        [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]], dtype=torch.float64
    )
    logp = toy("pinwheel").log_prob(x)
    assert torch.allclose(toy("pinwheel").log_prob(x @ rotation.T), logp, rtol=1e-9, atol=1e-9)


def test_the_checkerboard_is_zero_between_its_squares():
    board = toy("checkerboard")
    x = torch.tensor([[-1.5, -1.5], [-1.5, -0.5], [1.5, 1.5], [2.0, 0.5], [0.5, -2.5], [3.0, 3.0]])
    eighth = -math.log(8)
    inf = math.inf
    assert board.log_prob(x).tolist() == [eighth, -inf, eighth, -inf, -inf, -inf]


def test_a_name_is_looked_up_and_a_wrong_one_answered_with_the_nearest():
    assert {name: density.name for name, density in TOYS.items()} == {name: name for name in TOYS}
    with pytest.raises(ArgumentError, match="Did you mean 'two_moons'"):
        toy("two_moon")
