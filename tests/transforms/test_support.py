"""What each transform between supports is by definition, and what it does at the ends."""

import math
import warnings

import numpy
import pytest
import torch
from scipy import special, stats
from tests.transforms.cases import CASES, made, points, scatter
from torch import distributions as D
from torch.distributions import transforms as theirs
from torch.testing import assert_close

from pushforward import Flow, bases, maps
from pushforward import transforms as T
from pushforward.errors import ArgumentError, DataError, InputTypeError, ShapeError
from pushforward.numerics.quadrature import integrate_density

SUPPORTS = [case for case in CASES if case.name.startswith("support")]
PI = math.pi


def line(low, high, n=401, dtype=torch.float64):
    return torch.linspace(low, high, n, dtype=torch.float64).to(dtype)[:, None]


def grid(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


# ---------------------------------------------------------------- against PyTorch and SciPy

SAME_AS_TORCH = {
    "sigmoid": (lambda: T.Sigmoid(1), theirs.SigmoidTransform()),
    "sigmoid of a box": (
        lambda: T.Sigmoid(1, -3.0, 5.0),
        theirs.ComposeTransform([theirs.SigmoidTransform(), theirs.AffineTransform(-3.0, 8.0)]),
    ),
    "tanh": (lambda: T.Tanh(1), theirs.TanhTransform()),
    "exp": (lambda: T.Exp(1), theirs.ExpTransform()),
    "softplus": (lambda: T.Softplus(1), theirs.SoftplusTransform()),
    "normal": (lambda: T.NormalCDF(1), theirs.CumulativeDistributionTransform(D.Normal(0.0, 1.0))),
}


@pytest.mark.parametrize("name", SAME_AS_TORCH)
def test_on_a_line_it_is_what_torch_has(name):
    build, same = SAME_AS_TORCH[name]
    x = line(-4.0, 4.0)
    z, logdet = build().double()(x)
    want = same(x)
    assert_close(z, want, atol=1e-9, rtol=1e-9)
    assert_close(logdet, same.log_abs_det_jacobian(x, want)[:, 0], atol=1e-8, rtol=1e-8)
    back, logdet_back = build().double().inverse(want)
    assert_close(back, x, atol=1e-8, rtol=1e-8)
    assert_close(logdet_back, -logdet, atol=1e-8, rtol=1e-8)


TURNED = {
    "logit": (lambda: T.Logit(2, -1.0, 2.0), lambda: T.Inverse(T.Sigmoid(2, -1.0, 2.0))),
    "log": (lambda: T.Log(2), lambda: T.Inverse(T.Exp(2))),
    "normal": (lambda: T.NormalQuantile(2), lambda: T.Inverse(T.NormalCDF(2))),
}


@pytest.mark.parametrize("name", TURNED)
def test_a_name_of_its_own_is_the_inverse(name):
    one, other = (build() for build in TURNED[name])
    x = torch.rand(50, 2) * 4.0 - 1.5
    for direction in ("forward", "inverse"):
        assert_close(
            getattr(one, direction)(x), getattr(other, direction)(x), atol=0, rtol=0, equal_nan=True
        )


def test_logit_and_log_are_those_of_scipy():
    x = line(0.001, 0.999)
    assert_close(T.Logit(1).double()(x)[0], torch.as_tensor(special.logit(x.numpy())))
    assert_close(T.Log(1).double()(x)[0], x.log(), atol=0, rtol=0)


# ---------------------------------------------------------------- both tails

ULP = 2.0**-23


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_normal_keeps_its_digits_in_the_lower_tail(dtype):
    """Errors in units of what rounding x itself does: relative, x^2 eps."""
    x = line(-12.8 if dtype == torch.float32 else -37.0, 5.0, 4001, dtype)
    z, logdet = T.NormalCDF(1).to(dtype)(x)
    want = special.ndtr(x.double().numpy())
    rounding = torch.finfo(dtype).eps * (1.0 + x.double().numpy() ** 2)
    assert numpy.max(numpy.abs(z.double().numpy() / want - 1.0) / rounding) < 4.0
    assert_close(
        logdet.double(), torch.as_tensor(stats.norm.logpdf(x.double().numpy()))[:, 0], rtol=1e-6,
        atol=1e-6 if dtype == torch.float32 else 1e-12,
    )  # fmt: skip
    back, logdet_back = T.NormalCDF(1).to(dtype).inverse(z)
    lower = x[:, 0] < 1.0
    eps = torch.finfo(dtype).eps
    assert_close(back[lower], x[lower], atol=20 * eps, rtol=20 * eps)
    assert_close(logdet_back[lower], -logdet[lower], atol=200 * eps, rtol=40 * eps)


def test_the_upper_tail_of_the_normal_loses_what_float32_cannot_write():
    """z is a multiple of 6e-8 there, and no nearer to 1: x comes back as well as that tells."""
    x = line(1.0, 5.2, 200, torch.float32)
    cdf = T.NormalCDF(1)
    z, _ = cdf(x)
    assert bool((z < 1).all())
    back = cdf.inverse(z)[0].double()
    density = torch.exp(-0.5 * x.double().square()) / math.sqrt(2.0 * PI)
    assert bool(((back - x).abs() <= 1.01 * ULP / density + 1e-5).all())
    assert float((cdf.inverse(cdf(torch.tensor([2.0]))[0])[0] - 2.0).abs()) < 2e-6


SATURATING = {
    "sigmoid": (T.Sigmoid, {}),
    "sigmoid of a box": (T.Sigmoid, {"low": -1e3, "high": 0.0}),
    "tanh": (T.Tanh, {}),
    "exp": (T.Exp, {}),
    "softplus": (T.Softplus, {}),
    "normal": (T.NormalCDF, {}),
    "interp": (T.Interp, {}),
}


@pytest.mark.parametrize("name", SATURATING)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [1.0, 20.0, 1e2, 1e3, 1e6])
def test_what_comes_out_lies_inside_however_far_it_came_from(name, dtype, size):
    """So that every sample of a flow has a density, and its own logdet, which is finite."""
    kind, options = SATURATING[name]
    transform = kind(1, **options).to(dtype)
    z, logdet = transform(torch.tensor([[size], [-size]], dtype=dtype))
    assert bool(transform.codomain.contains(z).all())
    assert bool(z.isfinite().all())
    assert bool(logdet.isfinite().all())
    assert bool(transform.inverse(z)[1].isfinite().all())


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "normal", "softplus"])
def test_the_logdet_keeps_its_digits_where_z_has_none_left(name):
    formulas = {
        "sigmoid": lambda x: -abs(x) - 2 * math.log1p(math.exp(-abs(x))),
        "tanh": lambda x: math.log(4) - 2 * abs(x) - 2 * math.log1p(math.exp(-2 * abs(x))),
        "normal": lambda x: -x * x / 2 - math.log(2 * PI) / 2,
        "softplus": lambda x: min(x, 0.0) - math.log1p(math.exp(-abs(x))),
    }
    transform = SATURATING[name][0](1)
    for x in (-60.0, -17.0, -0.5, 0.0, 0.5, 17.0, 60.0):
        logdet = transform(torch.tensor([x]))[1]
        assert float(logdet) == pytest.approx(formulas[name](x), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 0.0), (0.0, 1e6)])
def test_beside_an_end_at_zero_a_sigmoid_keeps_its_digits(low, high):
    side = 1.0 if low == 0.0 else -1.0
    x = -side * torch.tensor([[5.0], [30.0], [80.0]])
    sigmoid = T.Sigmoid(1, low, high)
    z, _ = sigmoid(x)
    want = side * (high - low) * torch.sigmoid(-x.abs().double())
    assert_close(z.double(), want, rtol=1e-6, atol=0)
    assert_close(sigmoid.inverse(z)[0], x, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_ends_of_an_interval_belong_to_it_and_go_to_ends(dtype):
    ends = torch.tensor([[0.1, -7.3], [0.7, 1e5]])
    interval = T.Interval(2, *ends, -0.3, torch.tensor([1.1, 0.9])).to(dtype)
    z, logdet = interval(ends.to(dtype))
    assert_close(z, torch.tensor([[-0.3, -0.3], [1.1, 0.9]]).to(dtype), atol=0, rtol=0)
    assert bool(logdet.isfinite().all())
    back, logdet_back = interval.inverse(z)
    assert_close(back, ends.to(dtype), atol=0, rtol=0)
    assert_close(logdet_back, -logdet, atol=0, rtol=0)


# ---------------------------------------------------------------- outside


@pytest.mark.parametrize("case", SUPPORTS, ids=lambda case: case.name)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_one_number_outside_is_enough_and_no_other_row_knows(case, direction):
    transform = made(case, 3)
    apply = getattr(transform, direction)
    end = transform.domain if direction == "forward" else transform.codomain
    x, _ = points(case, transform, (4,), direction=direction)
    outside = x.clone()
    outside[1, -1] = 1e4
    if bool(end.contains(outside).all()):
        pytest.skip("there is no outside")
    z, logdet = apply(outside)
    assert torch.equal(logdet == -torch.inf, torch.tensor([False, True, False, False]))
    assert bool(z.isfinite().all())
    keep = [0, 2, 3]
    assert_close((z[keep], logdet[keep]), tuple(t[keep] for t in apply(x)), atol=0, rtol=0)


@pytest.mark.parametrize("case", SUPPORTS, ids=lambda case: case.name)
def test_not_a_number_gives_no_density_of_zero(case):
    transform = made(case, 3)
    x, _ = points(case, transform, (2,))
    x[0, 0] = torch.nan
    z, logdet = transform(x)
    assert bool(z[0].isnan().any())
    assert bool(logdet[0] != -torch.inf)
    assert bool(logdet[1].isfinite())


def scattered(transform):
    scatter(transform, 0.4)
    return transform


def test_a_flow_over_a_box_stays_inside_it_and_has_no_density_outside():
    torch.manual_seed(0)
    coupling = T.Coupling(2, map=maps.RationalQuadratic(), keep=[True, False], hidden=(16,))
    flow = Flow(T.Compose(T.Logit(2), scattered(coupling)), bases.Normal(2))
    x = flow.sample(2000)
    assert bool(((x > 0) & (x < 1)).all())
    assert bool(flow.log_prob(x).isfinite().all())
    away = torch.tensor([[1.5, 0.5], [0.5, -1e-3], [0.0, 0.5], [0.5, 1.0]], requires_grad=True)
    assert bool((flow.log_prob(away) == -torch.inf).all())
    everywhere = torch.cat((away, torch.tensor([[0.4, 0.6]])))
    log_p = flow.log_prob(everywhere)
    log_p[log_p.isfinite()].sum().backward()
    assert bool(away.grad.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in flow.parameters() if p.grad is not None)
    with torch.no_grad():
        mass, _ = integrate_density(flow.log_prob, flow.sample(20_000))
        axis = torch.linspace(-20, 20, 801)
        far = torch.cartesian_prod(axis, axis)
        far = far[((far <= 0) | (far >= 1)).any(-1)]
        assert bool((flow.log_prob(far) == -torch.inf).all())
    assert mass == pytest.approx(1.0, abs=0.01)


# ---------------------------------------------------------------- known densities

KNOWN = {
    "lognormal": (lambda: Flow(T.Log(1), bases.Normal(1)), stats.lognorm(1.0), 0.0),
    "lognormal, shifted": (
        lambda: Flow(T.Log(1), bases.Normal(1, 0.5, 0.7)),
        stats.lognorm(0.7, scale=math.exp(0.5)),
        0.0,
    ),
    "johnson": (lambda: Flow(T.Logit(1, -1.0, 3.0), bases.Normal(1)),
                stats.johnsonsb(0.0, 1.0, loc=-1.0, scale=4.0), 0.0),
    "logistic": (lambda: Flow(T.Sigmoid(1), bases.Uniform(1)), stats.logistic(), 0.0),
    "hyperbolic secant, squared": (
        lambda: Flow(T.Tanh(1), bases.Uniform(1, -1.0, 1.0)), stats.logistic(scale=0.5), 0.0,
    ),
    "normal": (lambda: Flow(T.NormalCDF(1), bases.Uniform(1)), stats.norm(), 0.0),
    "uniform": (lambda: Flow(T.NormalQuantile(1), bases.Normal(1)), stats.uniform(), 0.0),
    "box": (lambda: Flow(T.Interval(1, 2.0, 5.0), bases.Uniform(1)), stats.uniform(2.0, 3.0), 0.0),
    "weibull": (
        lambda: Flow(T.Exp(1), torch.distributions.Exponential(torch.ones(1))),
        stats.gumbel_l(),
        0.0,
    ),
    "beta": (
        lambda: Flow(
            T.Interp(1, low=0.0, high=1.0, values=_beta_table()), bases.Uniform(1)
        ),
        stats.beta(2.0, 2.0),
        2e-2,
    ),
}  # fmt: skip


def _beta_table():
    """The distribution function at 101 knots; the ends, where it is 0 and 1, a little inside."""
    table = stats.beta(2.0, 2.0).cdf(numpy.linspace(0.0, 1.0, 101))
    return torch.as_tensor(table.clip(1e-6, 1.0 - 1e-6))


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_density_is_reproduced(name):
    build, known, allowed = KNOWN[name]
    flow = build().double()
    x = torch.as_tensor(known.ppf(numpy.linspace(0.005, 0.995, 300)))[:, None]
    assert_close(
        flow.log_prob(x), torch.as_tensor(known.logpdf(x[:, 0].numpy())), atol=1e-6 + allowed,
        rtol=0,
    )  # fmt: skip
    drawn = flow.sample(4000, generator=torch.Generator().manual_seed(3))
    assert stats.kstest(drawn[:, 0].numpy(), known.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", KNOWN)
def test_a_density_over_a_support_integrates_to_one(name):
    flow = KNOWN[name][0]().double()
    drawn = flow.sample(20_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mass, _ = integrate_density(flow.log_prob, drawn)
    assert mass == pytest.approx(1.0, abs=2e-3)


def test_shares_broken_off_by_betas_are_dirichlet():
    """Share k of what is left is Beta(a_k, what comes behind); z is its logit, shifted."""
    a = torch.tensor([2.0, 3.0, 0.8, 1.5], dtype=torch.float64)
    rest = a.flip(0).cumsum(0).flip(0)[1:]
    offset = torch.arange(3.0, 0.0, -1.0, dtype=torch.float64).log()
    steps = [theirs.SigmoidTransform().inv, theirs.AffineTransform(offset, 1.0)]
    flow = Flow(T.Simplex(4), D.TransformedDistribution(D.Beta(a[:-1], rest), steps)).double()
    x = D.Dirichlet(a).sample((500,))
    assert_close(flow.log_prob(x), D.Dirichlet(a).log_prob(x), atol=1e-6, rtol=1e-6)
    drawn = flow.sample(4000, generator=torch.Generator().manual_seed(1))
    assert_close(drawn.sum(-1), torch.ones(4000).double(), atol=1e-12, rtol=0)
    for i in range(4):
        marginal = stats.beta(float(a[i]), float(a.sum() - a[i]))
        assert stats.kstest(drawn[:, i].numpy(), marginal.cdf).pvalue > 1e-3


def test_angles_have_the_density_of_the_wrapped_ones():
    flow = Flow(T.Circle(1), D.VonMises(torch.tensor([0.5]), torch.tensor([2.0]))).double()
    known = stats.vonmises(2.0, loc=0.5)
    angles = line(-PI, PI, 2001)
    log_p = flow.log_prob(angles)
    assert_close(log_p, torch.as_tensor(known.logpdf(angles[:, 0].numpy())), atol=1e-6, rtol=0)
    assert_close(flow.log_prob(angles + 4.0 * PI), log_p, atol=1e-6, rtol=0)
    assert float(torch.trapezoid(log_p.exp(), angles[:, 0])) == pytest.approx(1.0, abs=1e-6)


def directions(n, features, seed=0):
    """Uniform on the sphere."""
    x = torch.randn(n, features, generator=torch.Generator().manual_seed(seed)).double()
    return x / x.norm(dim=-1, keepdim=True)


def coordinates(features):
    """The uniform density over angle and heights."""
    ends = torch.tensor([PI] + [1.0] * (features - 2))
    return bases.Uniform(features - 1, -ends, ends)


@pytest.mark.parametrize("features", [2, 3])
def test_up_to_three_dimensions_uniform_coordinates_are_uniform_directions(features):
    flow = Flow(T.Sphere(features), coordinates(features)).double()
    area = {2: 2.0 * PI, 3: 4.0 * PI}[features]
    log_p = flow.log_prob(directions(50, features))
    assert_close(log_p.exp() * area, torch.ones(50).double(), atol=1e-6, rtol=0)
    drawn = flow.sample(4000, generator=torch.Generator().manual_seed(1))
    for i in range(features):
        other = directions(4000, features, seed=2)[:, i]
        assert stats.ks_2samp(drawn[:, i].numpy(), other.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("features", [4, 5, 7])
def test_on_higher_spheres_a_density_integrates_to_one_over_the_area(features):
    flow = Flow(T.Sphere(features), coordinates(features)).double()
    area = 2.0 * PI ** (features / 2) / math.gamma(features / 2)
    share = flow.log_prob(directions(200_000, features)).exp() * area
    error = float(share.std() / 200_000**0.5)
    assert float(share.mean()) == pytest.approx(1.0, abs=5.0 * error + 1e-3)


def test_a_sphere_with_heights_of_an_exponential_is_von_mises_fisher():
    """Around the third axis: density k / (4 pi sinh k) exp(k x_3); the heights' is exponential."""
    k = 2.5
    log_p = torch.log(torch.tensor(k / (4.0 * PI * math.sinh(k)))) + k * directions(40, 3)[:, 2]
    x = directions(40, 3)
    z, logdet = T.Sphere(3).double()(x)
    heights = math.log(k / (2.0 * math.sinh(k))) + k * z[:, 1]
    assert_close(heights - math.log(2.0 * PI) + logdet, log_p, atol=1e-6, rtol=0)


# ---------------------------------------------------------------- simplex, circle, sphere


def test_equal_shares_are_the_origin():
    z, logdet = T.Simplex(5).double()(torch.full((5,), 0.2).double())
    assert_close(z, torch.zeros(4).double(), atol=1e-7, rtol=0)
    assert float(logdet) == pytest.approx(5.0 * math.log(5.0))


def test_the_simplex_is_torchs_stick_breaking():
    x, same = torch.distributions.Dirichlet(torch.ones(6).double()).sample((50,)), (
        theirs.StickBreakingTransform()
    )  # fmt: skip
    z, logdet = T.Simplex(6).double()(x)
    assert_close(z, same.inv(x), atol=1e-6, rtol=1e-6)
    assert_close(logdet, -same.log_abs_det_jacobian(z, x), atol=1e-6, rtol=1e-6)


def test_small_shares_keep_their_digits():
    x = torch.tensor([[1e-30, 1e-12, 1.0 - 2e-7, 1e-7, 1e-7]])
    simplex = T.Simplex(5)
    back = simplex.inverse(simplex(x)[0])[0]
    assert_close(back, x, rtol=1e-5, atol=0)


@pytest.mark.parametrize("total", [1.0 + 1e-3, 1.0 - 1e-3, 100.0, 0.0])
def test_shares_of_another_sum_have_no_density(total):
    x = torch.full((1, 4), total / 4.0)
    assert float(T.Simplex(4)(x)[1]) == -math.inf


def test_shares_written_in_few_digits_are_taken_for_what_they_mean():
    x = torch.tensor([[0.33333, 0.33333, 0.33333]])
    assert bool(T.Simplex(3)(x)[1].isfinite())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_wrapping_rounds_nothing(dtype):
    """Against whole numbers, whose remainders are exact."""
    x = torch.arange(-2000, 2000, dtype=dtype)[:, None] + 0.25
    z, logdet = T.Circle(1, period=24.0)(x)
    want = torch.as_tensor((x[:, 0].double().numpy() + 12.0) % 24.0 - 12.0)[:, None]
    assert_close(z.double(), want, atol=0, rtol=0)
    assert not bool(logdet.any())
    ends = torch.tensor([[12.0], [-12.0], [36.0], [-1e-20]], dtype=dtype)
    wrapped = T.Circle(1, period=24.0)(ends)[0]
    assert_close(wrapped[:3], torch.full((3, 1), -12.0, dtype=dtype), atol=0, rtol=0)
    assert_close(wrapped[3], ends[3], atol=0, rtol=0)


def test_the_sphere_gives_angle_and_heights():
    angle, height = 2.5, -0.3
    ring = math.sqrt(1.0 - height**2)
    x = torch.tensor([ring * math.cos(angle), ring * math.sin(angle), height]).double()
    z, logdet = T.Sphere(3).double()(x)
    assert_close(z, torch.tensor([angle, height]).double(), atol=1e-6, rtol=0)
    assert float(logdet) == 0.0


@pytest.mark.parametrize("features", [2, 3, 4, 6])
def test_at_the_poles_nothing_is_nan(features):
    poles = torch.cat((torch.eye(features), -torch.eye(features))).requires_grad_()
    z, logdet = T.Sphere(features)(poles)
    assert bool(z.isfinite().all())
    assert bool(logdet.isfinite().all())
    for output in (z.sum(), logdet.sum()):
        (gradient,) = torch.autograd.grad(output, poles, retain_graph=True)
        assert not bool(gradient.isnan().any())
    back = T.Sphere(features).inverse(z)[0]
    assert_close(back, poles, atol=1e-6, rtol=0)


# ---------------------------------------------------------------- interp


def test_interp_goes_through_its_table_without_a_kink():
    values = torch.tensor([0.05, 0.1, 0.5, 0.55, 0.9])
    interp = T.Interp(1, low=-2.0, high=2.0, values=values).double()
    knots = grid(-2.0, -1.0, 0.0, 1.0, 2.0)
    assert_close(interp(knots)[0][:, 0], values.double(), atol=1e-7, rtol=0)
    left, right = (interp(knots + step)[1] for step in (-1e-9, 1e-9))
    assert_close(left, right, atol=1e-6, rtol=0)


def test_between_knots_interp_is_gregorys_and_delbourgos_rational():
    """Written out with slopes in units of x, harmonic means of the neighbours'."""
    y = numpy.array([0.05, 0.1, 0.5, 0.55])
    s = numpy.diff(y) / 2.0
    d = [s[0], 2 / (1 / s[0] + 1 / s[1]), 2 / (1 / s[1] + 1 / s[2]), s[2]]
    interp = T.Interp(1, low=1.0, high=7.0, values=torch.as_tensor(y)).double()
    for i in range(3):
        for t in (0.1, 0.5, 0.8):
            top = s[i] * t * t + d[i] * t * (1 - t)
            want = y[i] + (y[i + 1] - y[i]) * top / (
                s[i] + (d[i] + d[i + 1] - 2 * s[i]) * t * (1 - t)
            )
            z, _ = interp(grid(1.0 + 2.0 * (i + t)))
            assert float(z) == pytest.approx(want, abs=1e-7)


def test_beyond_its_table_interp_goes_on_along_exponentials():
    interp = T.Interp(1, low=0.0, high=1.0, values=torch.tensor([0.2, 0.6, 0.9])).double()
    x = grid(-1.0, -0.5, 1.5, 2.0)
    z, _ = interp(x)
    rate, end_rate = 0.8 / 0.2, 0.6 / 0.1
    want = [0.2 * math.exp(-rate), 0.2 * math.exp(-rate / 2)]
    want += [1 - 0.1 * math.exp(-end_rate / 2), 1 - 0.1 * math.exp(-end_rate)]
    assert_close(z[:, 0], torch.tensor(want).double(), atol=1e-6, rtol=0)


def test_interp_reads_the_distribution_function_off_the_data():
    x = torch.randn(5000, 2, dtype=torch.float64) * torch.tensor([1.0, 30.0]) + 5.0
    interp = T.Interp(2, bins=50).double().fit(x)
    knots = torch.lerp(interp.low, interp.high, line(0.0, 1.0, 51))
    counted = (x[:, None] <= knots).double().mean(0)
    assert_close(interp(knots)[0], counted, atol=2e-3, rtol=0)
    z = T.Compose(interp, T.NormalQuantile(2))(x)[0]
    for column in z.T:
        assert stats.kstest(column.numpy(), stats.norm.cdf).statistic < 0.02


def test_a_bin_without_data_has_some_density_and_comes_back():
    x = torch.cat((torch.randn(500, 1) - 50.0, torch.randn(500, 1) + 50.0)).double()
    interp = T.Interp(1).double().fit(x)
    between = line(-40.0, 40.0)
    z, logdet = interp(between)
    assert bool((z.diff(dim=0) > 0).all())
    assert_close(interp.inverse(z)[0], between, atol=1e-6, rtol=0)
    assert_close(logdet[150:250].exp(), torch.full((100,), 1e-3 / 104).double(), rtol=0.2, atol=0)


def test_interp_keeps_a_table_that_was_given():
    values = torch.tensor([0.1, 0.5, 0.9])
    interp = T.Interp(2, low=0.0, high=1.0, values=values).fit(torch.randn(100, 2))
    assert_close(interp.values, values.expand(2, 3), atol=0, rtol=0)
    boxed = T.Interp(1, bins=4, low=-9.0, high=9.0).fit(torch.randn(100, 1))
    assert float(boxed.high) == 9.0
    assert float(boxed.values[0, 2]) == pytest.approx(0.5, abs=0.15)


def test_columns_that_interp_cannot_read_are_named():
    x = torch.randn(50, 2)
    x[:, 1] = 3.0
    with pytest.raises(DataError, match=r"column 1 of x is constant \(3\)"):
        T.Interp(2).fit(x)
    x[0, 1] = torch.nan
    with pytest.raises(DataError, match="column 1 of x holds values that are not finite"):
        T.Interp(2).fit(x)
    with pytest.raises(
        DataError, match="no row of column 0 of x lies between low = 7 and high = 9"
    ):
        T.Interp(1, low=7.0, high=9.0).fit(torch.randn(50, 1))


# ---------------------------------------------------------------- columns


def test_columns_apply_each_transform_to_its_own():
    parts = T.Log(2), T.Simplex(3), T.Logit(1)
    columns = T.Columns(*parts).double()
    x = torch.rand(20, 6, dtype=torch.float64)
    x[:, 2:5] /= x[:, 2:5].sum(-1, keepdim=True)
    pairs = [part(y) for part, y in zip(parts, x.split([2, 3, 1], -1), strict=True)]
    z, logdet = columns(x)
    assert columns.latent_shape == (5,)
    assert_close(z, torch.cat([pair[0] for pair in pairs], -1), atol=0, rtol=0)
    assert_close(logdet, sum(pair[1] for pair in pairs), atol=1e-12, rtol=0)
    assert_close(columns.inverse(z)[0], x, atol=1e-12, rtol=0)


def test_columns_hand_the_context_to_those_that_read_it_and_fit_each():
    affine = T.Elementwise(1, map=maps.Affine(), context=2, hidden=(4,))
    columns = T.Columns(T.Standardize(2), affine)
    assert columns.context == 2
    columns.fit(torch.randn(100, 3) + 7.0, torch.randn(100, 2))
    assert float(columns.transforms[0].mean.min()) > 5.0
    x, c = torch.randn(5, 3), torch.randn(5, 2)
    assert_close(columns(x, c)[0][:, 2:], affine(x[:, 2:], c)[0], atol=0, rtol=0)


def test_what_cannot_stand_side_by_side_is_refused():
    with pytest.raises(ArgumentError, match="Columns: got no transform"):
        T.Columns()
    with pytest.raises(InputTypeError, match=r"write Columns\(a, b\) rather than"):
        T.Columns([T.Log(1)])
    reading = [T.Elementwise(1, map=maps.Affine(), context=c) for c in (1, 2)]
    with pytest.raises(ShapeError, match=r"Columns: the steps read contexts of widths \[1, 2\]"):
        T.Columns(*reading)


# ---------------------------------------------------------------- refusals

REFUSED = {
    "upside down": (lambda: T.Logit(2, 1.0, 0.0), r"low is \[1.0, 1.0\] and high \[0.0, 0.0\]"),
    "not finite": (lambda: T.Sigmoid(1, 0.0, math.inf), "high is .*, expected finite numbers"),
    "too wide": (lambda: T.Logit(1, -3e38, 3e38), "and a distance that float32 holds"),
    "wrong width": (lambda: T.Interval(2, torch.zeros(3), 1.0), r"low has shape \(3,\)"),
    "other side": (lambda: T.Interval(1, 0.0, 1.0, 2.0, 1.0), r"to_low is \[2.0\] and to_high"),
    "one share": (lambda: T.Simplex(1), "Simplex: features is 1, expected at least 2"),
    "no direction": (lambda: T.Sphere(1), "Sphere: features is 1, expected at least 2"),
    "no period": (lambda: T.Circle(1, 0.0), "period is 0.0, expected a positive number"),
    "no bins": (lambda: T.Interp(1, bins=0), "bins is 0, expected 1 to 1000"),
    "half a box": (lambda: T.Interp(1, low=0.0), "expected low and high together"),
    "falling": (
        lambda: T.Interp(1, low=0.0, high=1.0, values=torch.tensor([0.5, 0.4])),
        "values do not increase",
    ),
    "beyond one": (
        lambda: T.Interp(1, low=0.0, high=1.0, values=torch.tensor([0.5, 1.0])),
        "values do not increase within",
    ),
    "one number": (
        lambda: T.Interp(1, low=0.0, high=1.0, values=torch.tensor(0.5)),
        r"values is one number, expected \(bins \+ 1,\) or",
    ),
    "two sizes": (
        lambda: T.Interp(1, bins=3, low=0.0, high=1.0, values=torch.tensor([0.1, 0.2])),
        "bins is 3 and values has 2 knots; leave bins out",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(name):
    build, says = REFUSED[name]
    with pytest.raises(ArgumentError, match=says):
        build()


def test_columns_that_go_round_more_than_once_are_warned_of_and_many_times_refused():
    degrees = torch.linspace(0.0, 359.0, 50)[:, None]
    with pytest.raises(
        DataError, match=r"column 0 of x spans 57\.1 periods of 6\.283, expected ab"
    ):
        T.Circle(1).fit(degrees)
    with pytest.raises(DataError, match=r"column 1 of x spans 3\.82 .* period=360 for degrees"):
        T.Circle(2).fit(torch.linspace(0.0, 1.0, 9)[:, None] * torch.tensor([8.0, 24.0]))
    with pytest.warns(UserWarning, match=r"column 0 of x spans 1\.03 periods of 360; if these"):
        T.Circle(1, period=360.0).fit(degrees * 370.0 / 359.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        T.Circle(1, period=360.0).fit(degrees)
